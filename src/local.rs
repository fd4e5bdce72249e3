//! Values that each tasklet has for itself.
//!
//! Always: a value is made when its tasklet first asks for it, and dropped on the tasklet's own
//! stack when its body has ended.

use crate::kernel::running;
use std::any::Any;
use std::fmt;
use std::rc::Rc;

/// Declares a value that each tasklet has for itself, like `thread_local!`.
///
/// ```
/// use std::cell::Cell;
/// use tasklets::{run, spawn, tasklet_local};
/// tasklet_local! {
///     static DEPTH: Cell<u32> = Cell::new(0);
/// }
/// run(|| {
///     DEPTH.with(|it| it.set(7));
///     let other = spawn(|| DEPTH.with(|it| it.get())).join().unwrap();
///     assert_eq!((other, DEPTH.with(|it| it.get())), (0, 7));
/// });
/// ```
#[macro_export]
#[doc(alias("local", "corolocal", "contextvars"))]
macro_rules! tasklet_local {
    ($($(#[$attribute:meta])* $vis:vis static $name:ident: $type:ty = $init:expr);+ $(;)?) => {$(
        $(#[$attribute])*
        $vis static $name: $crate::LocalKey<$type> = $crate::LocalKey::new(|| $init);
    )+};
}

/// Made by [`tasklet_local!`].
///
/// ```
/// use tasklets::{run, spawn, tasklet_local};
/// tasklet_local! { static LOG: std::cell::RefCell<Vec<u8>> = Default::default() }
/// /// Writes to the log of whoever calls it, without being told whose that is.
/// fn note(it: u8) { LOG.with(|log| log.borrow_mut().push(it)) }
/// run(|| {
///     note(1);
///     let other = spawn(|| { note(2); LOG.with(|log| log.take()) });
///     assert_eq!((other.join().unwrap(), LOG.with(|log| log.take())), (vec![2], vec![1]));
/// });
/// ```
pub struct LocalKey<T: 'static> {
    init: fn() -> T,
    /// Gives the key an address of its own.
    _place: u8,
}

impl<T: 'static> LocalKey<T> {
    #[doc(hidden)]
    pub const fn new(init: fn() -> T) -> LocalKey<T> {
        LocalKey { init, _place: 0 }
    }

    /// Shows the running tasklet's value to `f`, making it first if need be.
    ///
    /// `f` may wait, and use this or other keys.
    ///
    /// # Panics
    /// Outside of a run; see [`try_with`](Self::try_with).
    ///
    /// ```
    /// use tasklets::{run, tasklet_local};
    /// tasklet_local! { static REQUEST: std::cell::Cell<Option<u32>> = None.into() }
    /// run(|| {
    ///     REQUEST.with(|it| it.set(Some(17)));
    ///     assert_eq!(REQUEST.with(|it| it.get()), Some(17)); // anywhere below, in this tasklet
    /// });
    /// ```
    pub fn with<R>(&'static self, f: impl FnOnce(&T) -> R) -> R {
        self.try_with(f).expect("a tasklet-local value exists only in a run")
    }

    /// [`with`](Self::with); `None` outside of a run.
    ///
    /// ```
    /// use tasklets::{run, tasklet_local};
    /// tasklet_local! { static NAME: String = "made in a run".to_owned() }
    /// let name = || NAME.try_with(String::clone); // for code that is used outside of runs, too
    /// assert_eq!((name(), run(name)), (None, Some("made in a run".to_owned())));
    /// ```
    pub fn try_with<R>(&'static self, f: impl FnOnce(&T) -> R) -> Option<R> {
        let task = running::current()?;
        let key = std::ptr::from_ref(self).addr();
        let locals = &task.extra().locals;
        let found = locals.borrow().iter().find(|(it, _)| *it == key).map(|(_, it)| it.clone());
        let value = found.unwrap_or_else(|| {
            let made: Rc<dyn Any> = Rc::new((self.init)());
            locals.borrow_mut().push((key, made.clone()));
            made
        });
        value.downcast_ref().map(f)
    }
}

impl<T> fmt::Debug for LocalKey<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalKey").finish_non_exhaustive()
    }
}
