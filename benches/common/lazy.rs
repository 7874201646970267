//! The input of a benchmark, built at its first use.

/// A value that `set_up` builds at the first use, if there is one.
pub struct Lazy<S, F> {
    value: Option<S>,
    set_up: Option<F>,
}

impl<S, F: FnOnce() -> S> Lazy<S, F> {
    /// Nothing is made yet.
    pub fn new(set_up: F) -> Self {
        Self { value: None, set_up: Some(set_up) }
    }

    /// The value, made now if this is the first use.
    pub fn get(&mut self) -> &mut S {
        self.value.get_or_insert_with(|| {
            let set_up = self.set_up.take().expect("set up only once");
            set_up()
        })
    }

    /// The value, if it was ever needed.
    pub fn into_value(self) -> Option<S> {
        self.value
    }
}
