//! Selecting: exactly one of several operations happens.
//!
//! Always: the losers have no effect on anybody; among several that can happen the choice is
//! fair, by the run's chooser. [`select!`](crate::select!) is for arms written down, [`select()`]
//! for operations in a slice, [`Select`] for channels known at run time and used again.

mod chosen;
mod reused;

pub use chosen::Chosen;
pub use reused::Select;

pub use crate::kernel::operation::Arm;
use crate::kernel::operation::{Patience, perform, perform_from};
use crate::time;
use std::panic::Location;
use std::time::Duration;

/// Makes exactly one of `operations` happen; tells which, its output is in it.
///
/// Waits until one can happen. If the tasklet is stopped, or may not wait where it has to, the
/// first enabled operation gets the reason.
///
/// # Panics
/// If none is enabled, and if it has to wait under a [`switch_trap`](crate::switch_trap) or inside
/// a raw generator.
///
/// ```
/// use tasklets::{Operation, channel, run, select, spawn};
/// run(|| {
///     let ends: Vec<_> = (0..3).map(|_| channel()).collect();
///     let tx = ends[1].0.clone();
///     spawn(move || tx.send("one"));
///     let mut operations: Vec<_> = ends.iter().map(|(_, rx)| rx.receiving()).collect();
///     let mut arms: Vec<_> = operations.iter_mut().map(|it| it as &mut dyn select::Arm).collect();
///     let index = select::select(&mut arms);
///     assert_eq!((index, operations[index].take()), (1, Ok("one")));
/// });
/// ```
#[track_caller]
pub fn select(operations: &mut [&mut dyn Arm]) -> usize {
    let won = perform(operations, Patience::Forever, false, Location::caller());
    won.expect("patience was without end")
}

#[doc(hidden)]
pub mod support {
    //! What the macro needs by name.
    use super::{Arm, Duration, Location, Patience, perform, perform_from, time};
    use crate::channel::{self, Head};
    pub use crate::kernel::operation::Lot;
    use crate::kernel::wait::Wait;

    /// See `kernel/operation.rs`.
    #[track_caller]
    pub fn run(arms: &mut [&mut dyn Arm], biased: bool, patience: Patience) -> Option<usize> {
        perform(arms, patience, biased, Location::caller())
    }

    /// [`run`] from where `lot` has come to.
    #[track_caller]
    pub fn run_after(lot: &mut Lot, arms: &mut [&mut dyn Arm], patience: Patience) -> usize {
        let won = perform_from(arms, patience, false, Location::caller(), lot.start());
        won.unwrap_or(NOBODY)
    }

    /// See [`Lot::park`].
    #[track_caller]
    #[inline]
    pub fn park(lot: &mut Lot, wait: Wait, stands: bool, patience: Patience) -> usize {
        lot.park(wait, stands, patience, Location::caller()).unwrap_or(NOBODY)
    }

    /// For the receivers of a select that have no head of their own, which are shared ones.
    pub use crate::channel::Busy;

    /// Lets `lot` know which receivers are ready; false if it has to be told of each in turn.
    #[inline]
    pub fn look(lot: &mut Lot, heads: &[&Head]) -> bool {
        lot.looks(|ready, stopped| channel::look(heads, ready, stopped))
    }

    /// See `channel/head.rs`.
    #[inline]
    pub fn stand(heads: &[&Head], wait: &Wait, from: usize) -> usize {
        channel::stand(heads, wait, from)
    }

    /// The index of no arm.
    pub const NOBODY: usize = usize::MAX;
    pub const FOREVER: Patience = Patience::Forever;
    pub const NONE: Patience = Patience::None;

    pub fn for_at_most(delay: Duration) -> Patience {
        Patience::Until(time::after_now(delay))
    }
}

/// Waits for exactly one of several operations, in the syntax of crossbeam-channel.
///
/// ```text
/// select! {
///     biased;                                  // optional: try the arms in the order written
///     recv(rx) -> value => ...,                // value: Result<T, Halt>
///     send(tx, expression) -> sent => ...,     // sent: Result<(), SendError<T>>
///     op(operation) -> output => ...,          // any `Operation`, by value or `&mut`
///     recv(rx) -> value if condition => ...,   // an arm that is off unless the condition holds
///     default => ...,                          // if nothing can happen now
///     default(delay) => ...,                   // if nothing happens for that long
/// }
/// ```
///
/// The expression of a `send` arm is evaluated only if the arm is taken (a receiver is certain by
/// then and waits for it), or if it fails, to give it back. A closed channel makes its arm ready,
/// with the error. If the tasklet is stopped (cancelled, late, or handed an error) before or while
/// it waits, with or without a `default(delay)`, the first arm that is on gets the reason, and not
/// the default: so a loop around it ends. If none is on, `default(delay)` is taken at once. With
/// `default` nothing waits, so a stopped tasklet may still try. The ends named in an arm are looked
/// at even if its condition does not hold. Among arms that can happen the choice is fair; with
/// `biased;` the first one wins, which promises nothing about arms that become ready later.
///
/// # Panics
/// If no arm is on and there is no `default`: it would wait for ever. If it has to wait under a
/// [`switch_trap`](crate::switch_trap) or inside a raw generator. Without any arm it does not
/// compile.
///
/// ```
/// use std::time::Duration;
/// use tasklets::{channel, run, select, spawn};
/// run(|| {
///     let (tx, rx) = channel();
///     let (reply, answers) = channel::<String>();
///     spawn(move || reply.send(rx.recv().unwrap()));
///     let mut sent = false;
///     let answer = loop {
///         select! {
///             send(tx, "hello".to_string()) -> done if !sent => { done.unwrap(); sent = true }
///             recv(answers) -> answer => break answer.unwrap(),
///             default(Duration::from_secs(5)) => panic!("nobody answers"),
///         }
///     };
///     assert_eq!(answer, "hello");
/// });
/// ```
#[macro_export]
#[doc(alias("alt", "pri_alt"))]
macro_rules! select {
    () => {
        ::std::compile_error!("a select! without arms would wait for ever")
    };
    (biased; $($arms:tt)+) => {
        $crate::__select!(@parse true [] [] $($arms)+)
    };
    ($($arms:tt)+) => {
        $crate::__select!(@parse false [] [] $($arms)+)
    };
}

/// The parser and generator of [`select!`].
#[doc(hidden)]
#[macro_export]
macro_rules! __select {
    // All arms are parsed.
    (@parse $biased:tt [] []) => {
        ::std::compile_error!("a select! without arms would wait for ever")
    };
    (@parse $biased:tt [$($arm:tt)*] [$($default:tt)*]) => {
        $crate::__select!(@make $biased [$($arm)*] [$($default)*])
    };
    (@parse $biased:tt $arms:tt $default:tt , $($rest:tt)*) => {
        $crate::__select!(@parse $biased $arms $default $($rest)*)
    };

    (@parse $biased:tt [$($arm:tt)*] [] default => $body:block $($rest:tt)*) => {
        $crate::__select!(@parse $biased [$($arm)*] [
            ($crate::select::support::NONE) ($body)] $($rest)*)
    };
    (@parse $biased:tt [$($arm:tt)*] [] default => $body:expr $(, $($rest:tt)*)?) => {
        $crate::__select!(@parse $biased [$($arm)*] [
            ($crate::select::support::NONE) ($body)] $($($rest)*)?)
    };
    (@parse $biased:tt [$($arm:tt)*] [] default($delay:expr) => $body:block $($rest:tt)*) => {
        $crate::__select!(@parse $biased [$($arm)*] [
            ($crate::select::support::for_at_most($delay)) ($body)] $($rest)*)
    };
    (@parse $biased:tt [$($arm:tt)*] [] default($delay:expr) => $body:expr
        $(, $($rest:tt)*)?) => {
        $crate::__select!(@parse $biased [$($arm)*] [
            ($crate::select::support::for_at_most($delay)) ($body)] $($($rest)*)?)
    };

    (@parse $biased:tt [$($arm:tt)*] $default:tt $kind:ident($($what:tt)*)
        -> $pattern:pat_param $(if $guard:expr)? => $body:block $($rest:tt)*) => {
        $crate::__select!(@parse $biased [$($arm)* {
            operation end output $kind ($($what)*) ($pattern) ($($guard)?) ($body)
        }] $default $($rest)*)
    };
    (@parse $biased:tt [$($arm:tt)*] $default:tt $kind:ident($($what:tt)*)
        -> $pattern:pat_param $(if $guard:expr)? => $body:expr $(, $($rest:tt)*)?) => {
        $crate::__select!(@parse $biased [$($arm)* {
            operation end output $kind ($($what)*) ($pattern) ($($guard)?) ($body)
        }] $default $($($rest)*)?)
    };
    (@parse $($other:tt)*) => {
        ::std::compile_error!(
            "an arm of select! is recv(rx) -> v => .., send(tx, e) -> r => .., \
             op(operation) -> v => .., default => .. or default(delay) => .."
        )
    };

    // All arms receive: they are attempted where they are, and made only if one has to wait.
    (@make false [$({
        $operation:ident $end:ident $output:ident recv ($rx:expr $(,)?) $pattern:tt () $body:tt
    })+] [$(($patience:expr) ($default:expr))?]) => {{
        #[allow(unused_imports)]
        use $crate::Operation as _;
        $(let mut $output = ::std::option::Option::None;)+
        let chosen = {
            $(let $end = &$rx;)+
            let patience = $crate::__select!(@patience $($patience)?);
            let busy = $crate::select::support::Busy::default();
            let heads = [$($end.select_head(&busy)),*];
            let mut lot = $crate::select::support::Lot::new(heads.len(), patience);
            if !$crate::select::support::look(&mut lot, &heads) {
                $crate::__select!(@see lot (0_usize) [$($end)+]);
            }
            loop {
                let drawn = lot.draw();
                $crate::__select!(@attempt drawn (0_usize) [$({$end $output})+]);
                if let ::std::option::Option::Some(wait) = lot.open(patience) {
                    $($end.select_note_holder(&wait);)+
                    let mut stood = 0_usize;
                    let stands = loop {
                        stood = $crate::select::support::stand(&heads, &wait, stood);
                        if stood == heads.len() {
                            break true;
                        }
                        if !$crate::__select!(@calm stood (0_usize) [$($end)+]) {
                            break false;
                        }
                    };
                    let met = $crate::select::support::park(&mut lot, wait, stands, patience);
                    $crate::__select!(@complete met (0_usize) [$({$end $output})+]);
                }
                $(let mut $operation = $end.receiving();)+
                let chosen = $crate::select::support::run_after(
                    &mut lot,
                    &mut [$(&mut $operation),*],
                    patience,
                );
                $crate::__select!(@collect chosen (0_usize)
                    [$({$operation $output recv ($rx)})+]);
                break chosen;
            }
        };
        $crate::__select!(@run chosen (0_usize) [$({$output $pattern $body})+] [$($default)?])
    }};
    (@see $lot:ident ($index:expr) []) => {};
    (@see $lot:ident ($index:expr) [$end:ident $($rest:tt)*]) => {
        $lot.see($index, $end.select_looks_ready());
        $crate::__select!(@see $lot ($index + 1) [$($rest)*]);
    };
    (@attempt $drawn:ident ($index:expr) []) => {};
    (@attempt $drawn:ident ($index:expr) [{$end:ident $output:ident} $($rest:tt)*]) => {
        if $drawn == $index {
            $output = $end.select_attempt();
            if $output.is_some() {
                break $index;
            }
            continue;
        }
        $crate::__select!(@attempt $drawn ($index + 1) [$($rest)*]);
    };
    (@calm $stood:ident ($index:expr) []) => { false };
    (@calm $stood:ident ($index:expr) [$end:ident $($rest:tt)*]) => {
        if $stood == $index {
            $end.select_calm()
        } else {
            $crate::__select!(@calm $stood ($index + 1) [$($rest)*])
        }
    };
    (@complete $met:ident ($index:expr) []) => {};
    (@complete $met:ident ($index:expr) [{$end:ident $output:ident} $($rest:tt)*]) => {
        if $met == $index {
            $output = $end.select_complete();
            if $output.is_some() {
                break $index;
            }
        }
        $crate::__select!(@complete $met ($index + 1) [$($rest)*]);
    };

    (@make $biased:tt [$({
        $operation:ident $end:ident $output:ident $kind:ident $what:tt $pattern:tt $guard:tt
            $body:tt
    })*] [$(($patience:expr) ($default:expr))?]) => {{
        #[allow(unused_imports)]
        use $crate::Operation as _;
        $(let mut $output = ::std::option::Option::None;)*
        let chosen = {
            $(
                $crate::__select!(@end $kind $end $what);
                let mut $operation = $crate::__select!(@operation $kind $end $what $guard);
            )*
            let chosen = $crate::select::support::run(
                &mut [$(&mut $operation),*],
                $biased,
                $crate::__select!(@patience $($patience)?),
            ).unwrap_or($crate::select::support::NOBODY);
            $crate::__select!(@collect chosen (0_usize)
                [$({$operation $output $kind $what})*]);
            chosen
        };
        $crate::__select!(@run chosen (0_usize) [$({$output $pattern $body})*] [$($default)?])
    }};

    (@patience) => { $crate::select::support::FOREVER };
    (@patience $patience:expr) => { $patience };

    // The end of a channel is borrowed for as long as the operation lives.
    (@end recv $end:ident ($rx:expr $(,)?)) => { let $end = &$rx; };
    (@end send $end:ident ($tx:expr, $value:expr $(,)?)) => { let $end = &$tx; };
    (@end op $end:ident ($operation:expr $(,)?)) => {};
    (@end $kind:ident $end:ident $what:tt) => {
        ::std::compile_error!("the arms of select! are recv, send, op and default")
    };

    (@operation recv $end:ident $what:tt ()) => { $end.receiving() };
    (@operation send $end:ident $what:tt ()) => { $end.reserving() };
    (@operation op $end:ident ($operation:expr $(,)?) ()) => { $operation };
    (@operation recv $end:ident $what:tt ($guard:expr)) => { $end.receiving().only_if($guard) };
    (@operation send $end:ident $what:tt ($guard:expr)) => { $end.reserving().only_if($guard) };
    (@operation op $end:ident ($operation:expr $(,)?) ($guard:expr)) => {
        $crate::Operation::only_if($operation, $guard)
    };
    (@operation $kind:ident $end:ident $what:tt $guard:tt) => { () };

    (@collect $chosen:ident ($index:expr) []) => {};
    (@collect $chosen:ident ($index:expr) [
        {$operation:ident $output:ident send ($tx:expr, $value:expr $(,)?)} $($rest:tt)*
    ]) => {
        if $chosen == $index {
            $output = ::std::option::Option::Some(match $operation.take() {
                ::std::result::Result::Ok(permit) => permit.send($value),
                ::std::result::Result::Err(why) => {
                    ::std::result::Result::Err($crate::SendError { value: $value, why })
                }
            });
        }
        $crate::__select!(@collect $chosen ($index + 1) [$($rest)*]);
    };
    (@collect $chosen:ident ($index:expr) [
        {$operation:ident $output:ident $kind:ident $what:tt} $($rest:tt)*
    ]) => {
        if $chosen == $index {
            $output = ::std::option::Option::Some($operation.take());
        }
        $crate::__select!(@collect $chosen ($index + 1) [$($rest)*]);
    };

    (@run $chosen:ident ($index:expr) [] []) => { ::std::unreachable!("no arm was chosen") };
    (@run $chosen:ident ($index:expr) [] [$default:expr]) => { $default };
    (@run $chosen:ident ($index:expr) [{$output:ident ($pattern:pat) ($body:expr)} $($rest:tt)*]
        $default:tt) => {
        if $chosen == $index {
            let $pattern = $output.expect("the chosen arm has an output");
            $body
        } else {
            $crate::__select!(@run $chosen ($index + 1) [$($rest)*] $default)
        }
    };
}
