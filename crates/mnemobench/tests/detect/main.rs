//! Tests of `mnemobench detect` and `init-baselines` on files as the benches leave them: every
//! verdict and every exit code.
#![allow(missing_docs, unreachable_pub, reason = "a test")]

mod confirmed;
mod contract;
mod disturbed;
mod evidence;
mod home;
mod recorded;
mod screened;
mod selftest;

#[test]
fn the_simulated_selftest_is_the_same_for_the_same_seed() {
    let home = home::Home::new();
    let table = || home.run(&["selftest", "--families", "1", "--seed", "7"]);
    let (first, second) = (table(), table());
    assert_eq!((first.code, &first.text), (Some(0), &second.text));
    assert!(
        first.text.contains("| screen and pairs, 12 %, 20 % ") && first.text.contains("100.0 %"),
        "{}",
        first.text
    );
}
