//! Measurements whose values Criterion is handed, instead of taking them itself.

/// Implements `Measurement` for a kind of value that comes through
/// `Bencher::iter_custom` alone, printed by `$formatter`.
///
/// A value is `f64`: closures that take no time drive Criterion's iterations so
/// high that integers would wrap.
macro_rules! custom_measurement {
    ($kind:ty, $formatter:expr) => {
        impl criterion::measurement::Measurement for $kind {
            type Intermediate = ();
            type Value = f64;

            fn start(&self) {}

            /// # Panics
            /// Always: such a value cannot be had from the outside of a loop.
            fn end(&self, (): ()) -> f64 {
                unreachable!("{} needs `iter_custom`", stringify!($kind));
            }

            fn add(&self, left: &f64, right: &f64) -> f64 {
                left + right
            }

            fn zero(&self) -> f64 {
                0.0
            }

            fn to_f64(&self, value: &f64) -> f64 {
                *value
            }

            fn formatter(&self) -> &dyn criterion::measurement::ValueFormatter {
                $formatter
            }
        }
    };
}

pub(crate) use custom_measurement;
