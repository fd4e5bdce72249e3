//! Operations as values: what a tasklet can wait for, combined and exported.
//!
//! Always: an operation that lost has had no effect on anybody. The idea is Concurrent ML's event
//! (Reppy, 1991). Operation: `Idle -> Happened`, then its output is taken once.

use crate::error::Halt;
use crate::kernel::control::Ways;
use crate::kernel::operation::{Arm, Patience, choose, leaf, perform};
use crate::kernel::running;
use crate::kernel::wait::Wait;
use std::panic::Location;

/// Something a tasklet can wait for: a send, a receive, a join, a timer, or any of several.
///
/// Operations are made by methods such as [`Receiver::receiving`](crate::Receiver::receiving),
/// combined with the methods below, used as arms of [`select!`](crate::select!) (`op(...)`), and
/// may be returned from functions, so that a library can export its own.
///
/// ```
/// use tasklets::{Operation, channel, run, spawn};
/// run(|| {
///     let (left, from_left) = channel::<u8>();
///     let (right, from_right) = channel::<&str>();
///     spawn(move || right.send("seven"));
///     let number = from_left.receiving().map(|it| it.unwrap().to_string());
///     let text = from_right.receiving().map(|it| it.unwrap().to_owned());
///     assert_eq!(number.or(text).wait(), "seven");
///     drop(left);
/// });
/// ```
pub trait Operation: Arm {
    /// What it gives.
    type Output;

    /// Takes the output, after the operation has happened.
    ///
    /// # Panics
    /// If it has not happened, or the output has been taken.
    ///
    /// ```
    /// use tasklets::{Operation, channel, run, select, spawn};
    /// run(|| {
    ///     let (tx, rx) = channel();
    ///     spawn(move || tx.send(5));
    ///     let mut receiving = rx.receiving();
    ///     select::select(&mut [&mut receiving]); // tells which one happened
    ///     assert_eq!(receiving.take(), Ok(5)); // and here is what came of it
    /// });
    /// ```
    fn take(&mut self) -> Self::Output;

    /// Waits until it happens.
    ///
    /// If the caller is stopped, before or meanwhile, the output is that error; so it is
    /// [`Halt::CannotWait`] where waiting is not possible.
    ///
    /// # Panics
    /// If it is disabled by [`only_if`](Operation::only_if), and if it has to wait under a
    /// [`switch_trap`](crate::switch_trap) or inside a raw generator.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tasklets::{Halt, Never, Operation, after, channel, run};
    /// run(|| {
    ///     let (_tx, rx) = channel::<Never>();
    ///     let late = after(Duration::from_millis(1)).map(|_| Err(Halt::TimedOut));
    ///     assert_eq!(rx.receiving().or(late).wait(), Err(Halt::TimedOut));
    /// });
    /// ```
    #[track_caller]
    fn wait(mut self) -> Self::Output
    where
        Self: Sized,
    {
        let at = Location::caller();
        perform(&mut [&mut self], Patience::Forever, true, at);
        self.take()
    }

    /// Does it if that is possible without waiting for a partner to come; `None` if it is not.
    ///
    /// A tasklet that has been stopped may try as well.
    ///
    /// # Panics
    /// If it sends to a receiver that [holds](crate::Receiver::recv_held) its senders, which has
    /// to be waited for, under a [`switch_trap`](crate::switch_trap) or inside a raw generator.
    ///
    /// ```
    /// use tasklets::{Operation, channel, run, spawn, yield_now};
    /// run(|| {
    ///     let (tx, rx) = channel();
    ///     assert!(rx.receiving().poll().is_none());
    ///     spawn(move || tx.send(1));
    ///     yield_now();
    ///     assert_eq!(rx.receiving().poll(), Some(Ok(1)));
    /// });
    /// ```
    #[track_caller]
    fn poll(mut self) -> Option<Self::Output>
    where
        Self: Sized,
    {
        let at = Location::caller();
        perform(&mut [&mut self], Patience::None, true, at).map(|_| self.take())
    }

    /// Applies `f` to the output.
    ///
    /// `f` runs in the tasklet that takes the output, when nothing is under way any more: it may
    /// wait, and its panic loses nothing but the output.
    ///
    /// ```
    /// use tasklets::{Operation, channel, run, spawn};
    /// run(|| {
    ///     let (tx, rx) = channel();
    ///     spawn(move || tx.send("42"));
    ///     let number = rx.receiving().map(|it| it.unwrap().parse::<i32>());
    ///     assert_eq!(number.wait(), Ok(42));
    /// });
    /// ```
    fn map<F, U>(self, f: F) -> Map<Self, F>
    where
        Self: Sized,
        F: FnOnce(Self::Output) -> U,
    {
        Map { operation: self, f: Some(f) }
    }

    /// This one or `other`, whichever can happen; by lot if both can.
    ///
    /// The one that loses has no effect. A tasklet that is stopped finds the error in the left one,
    /// or in the right one if the left one is disabled.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tasklets::{Halt, Operation, Receiver, after, channel, run, spawn};
    /// /// A receive with a time limit is an operation again: it can be an arm elsewhere.
    /// fn soon(rx: &Receiver<u8>) -> impl Operation<Output = Result<u8, Halt>> + '_ {
    ///     rx.receiving().or(after(Duration::from_secs(5)).map(|_| Err(Halt::TimedOut)))
    /// }
    /// run(|| {
    ///     let (tx, rx) = channel();
    ///     spawn(move || tx.send(9));
    ///     assert_eq!(soon(&rx).wait(), Ok(9));
    /// });
    /// ```
    fn or<O>(self, other: O) -> Or<Self, O>
    where
        Self: Sized,
        O: Operation<Output = Self::Output>,
    {
        Or { left: self, right: other, right_won: false }
    }

    /// This one if `enabled`, else an operation that never happens.
    ///
    /// ```
    /// use tasklets::{Operation, channel, run, spawn, yield_now};
    /// run(|| {
    ///     let (tx, rx) = channel();
    ///     spawn(move || tx.send("a job"));
    ///     yield_now();
    ///     let take_if = |idle: bool| rx.receiving().only_if(idle).poll();
    ///     assert_eq!(take_if(false), None); // busy: the job waits
    ///     assert_eq!(take_if(true), Some(Ok("a job")));
    /// });
    /// ```
    #[doc(alias = "guard")]
    fn only_if(self, enabled: bool) -> OnlyIf<Self>
    where
        Self: Sized,
    {
        OnlyIf { operation: self, enabled }
    }
}

impl<O: Operation + ?Sized> Arm for &mut O {
    fn attempt(&mut self, at: &'static Location<'static>) -> bool {
        (**self).attempt(at)
    }
    fn ready(&self) -> bool {
        (**self).ready()
    }
    fn publish(&mut self, wait: &Wait, branch: u32) -> u32 {
        (**self).publish(wait, branch)
    }
    fn withdraw(&mut self, wait: &Wait, branch: u32) {
        (**self).withdraw(wait, branch);
    }
    fn withdraw_losers(&mut self, wait: &Wait, branch: u32, won: u32) {
        (**self).withdraw_losers(wait, branch, won);
    }
    fn complete(&mut self, branch: u32, closed: bool, at: &'static Location<'static>) -> bool {
        (**self).complete(branch, closed, at)
    }
    fn halt(&mut self, why: Halt) {
        (**self).halt(why);
    }
    fn width(&self) -> u32 {
        (**self).width()
    }
    fn ways(&self, ways: &mut Ways) {
        (**self).ways(ways);
    }
    fn pick(&mut self, branch: u32) -> Option<&mut dyn Arm> {
        (**self).pick(branch)
    }
    fn is_shared(&self) -> bool {
        (**self).is_shared()
    }
}

impl<O: Operation + ?Sized> Operation for &mut O {
    type Output = O::Output;

    fn take(&mut self) -> O::Output {
        (**self).take()
    }
}

/// Made by [`Operation::map`].
#[derive(Debug)]
#[must_use = "an operation does nothing until it is waited for"]
pub struct Map<O, F> {
    operation: O,
    f: Option<F>,
}

impl<O: Arm, F> Arm for Map<O, F> {
    fn attempt(&mut self, at: &'static Location<'static>) -> bool {
        self.operation.attempt(at)
    }
    fn ready(&self) -> bool {
        self.operation.ready()
    }
    fn publish(&mut self, wait: &Wait, branch: u32) -> u32 {
        self.operation.publish(wait, branch)
    }
    fn withdraw(&mut self, wait: &Wait, branch: u32) {
        self.operation.withdraw(wait, branch);
    }
    fn withdraw_losers(&mut self, wait: &Wait, branch: u32, won: u32) {
        self.operation.withdraw_losers(wait, branch, won);
    }
    fn complete(&mut self, branch: u32, closed: bool, at: &'static Location<'static>) -> bool {
        self.operation.complete(branch, closed, at)
    }
    fn halt(&mut self, why: Halt) {
        self.operation.halt(why);
    }
    fn width(&self) -> u32 {
        self.operation.width()
    }
    fn ways(&self, ways: &mut Ways) {
        self.operation.ways(ways);
    }
    fn pick(&mut self, branch: u32) -> Option<&mut dyn Arm> {
        self.operation.pick(branch)
    }
    fn is_shared(&self) -> bool {
        self.operation.is_shared()
    }
}

impl<O: Operation, F: FnOnce(O::Output) -> U, U> Operation for Map<O, F> {
    type Output = U;

    fn take(&mut self) -> U {
        let f = self.f.take().expect("the output of an operation is taken once");
        f(self.operation.take())
    }
}

/// Made by [`Operation::only_if`].
#[derive(Debug)]
#[must_use = "an operation does nothing until it is waited for"]
pub struct OnlyIf<O> {
    operation: O,
    enabled: bool,
}

impl<O: Arm> Arm for OnlyIf<O> {
    fn attempt(&mut self, at: &'static Location<'static>) -> bool {
        self.enabled && self.operation.attempt(at)
    }
    fn ready(&self) -> bool {
        self.enabled && self.operation.ready()
    }
    fn publish(&mut self, wait: &Wait, branch: u32) -> u32 {
        if self.enabled { self.operation.publish(wait, branch) } else { 0 }
    }
    fn withdraw(&mut self, wait: &Wait, branch: u32) {
        if self.enabled {
            self.operation.withdraw(wait, branch);
        }
    }
    fn withdraw_losers(&mut self, wait: &Wait, branch: u32, won: u32) {
        self.operation.withdraw_losers(wait, branch, won);
    }
    fn complete(&mut self, branch: u32, closed: bool, at: &'static Location<'static>) -> bool {
        self.operation.complete(branch, closed, at)
    }
    fn halt(&mut self, why: Halt) {
        self.operation.halt(why);
    }
    fn width(&self) -> u32 {
        if self.enabled { self.operation.width() } else { 0 }
    }
    fn ways(&self, ways: &mut Ways) {
        if self.enabled {
            self.operation.ways(ways);
        }
    }
    fn pick(&mut self, branch: u32) -> Option<&mut dyn Arm> {
        self.operation.pick(branch)
    }
    fn is_shared(&self) -> bool {
        !self.enabled || self.operation.is_shared()
    }
}

impl<O: Operation> Operation for OnlyIf<O> {
    type Output = O::Output;

    fn take(&mut self) -> O::Output {
        self.operation.take()
    }
}

/// Made by [`Operation::or`].
#[derive(Debug)]
#[must_use = "an operation does nothing until it is waited for"]
pub struct Or<L, R> {
    left: L,
    right: R,
    right_won: bool,
}

impl<L: Arm, R: Arm> Arm for Or<L, R> {
    fn attempt(&mut self, at: &'static Location<'static>) -> bool {
        let parked_at = running::parked_at();
        let right_first = match (self.left.ready(), self.right.ready()) {
            (true, true) => choose(2) == 1,
            (_, right) => right,
        };
        for right in [right_first, !right_first] {
            self.right_won = right;
            let happened = if right { self.right.attempt(at) } else { self.left.attempt(at) };
            if happened {
                return true;
            }
            if running::parked_at() != parked_at {
                break; // others ran: the caller asks again
            }
        }
        false
    }
    fn ready(&self) -> bool {
        self.left.ready() || self.right.ready()
    }
    fn publish(&mut self, wait: &Wait, branch: u32) -> u32 {
        let left = self.left.publish(wait, branch);
        left + self.right.publish(wait, branch + left)
    }
    fn withdraw(&mut self, wait: &Wait, branch: u32) {
        self.left.withdraw(wait, branch);
        self.right.withdraw(wait, branch + self.left.width());
    }
    fn withdraw_losers(&mut self, wait: &Wait, branch: u32, won: u32) {
        let left = self.left.width();
        if won < left {
            self.left.withdraw_losers(wait, branch, won);
            self.right.withdraw(wait, branch + left);
        } else {
            self.left.withdraw(wait, branch);
            self.right.withdraw_losers(wait, branch + left, won - left);
        }
    }
    fn complete(&mut self, branch: u32, closed: bool, at: &'static Location<'static>) -> bool {
        let left = self.left.width();
        self.right_won = branch >= left;
        if self.right_won {
            self.right.complete(branch - left, closed, at)
        } else {
            self.left.complete(branch, closed, at)
        }
    }
    fn halt(&mut self, why: Halt) {
        self.right_won = self.left.width() == 0;
        if self.right_won { self.right.halt(why) } else { self.left.halt(why) }
    }
    fn width(&self) -> u32 {
        self.left.width() + self.right.width()
    }
    fn ways(&self, ways: &mut Ways) {
        self.left.ways(ways);
        self.right.ways(ways);
    }
    fn pick(&mut self, branch: u32) -> Option<&mut dyn Arm> {
        let left = self.left.width();
        self.right_won = branch >= left;
        Some(if self.right_won {
            leaf(&mut self.right, branch - left)
        } else {
            leaf(&mut self.left, branch)
        })
    }
    fn is_shared(&self) -> bool {
        self.left.is_shared() && self.right.is_shared()
    }
}

impl<L: Operation, R: Operation<Output = L::Output>> Operation for Or<L, R> {
    type Output = L::Output;

    fn take(&mut self) -> L::Output {
        if self.right_won { self.right.take() } else { self.left.take() }
    }
}
