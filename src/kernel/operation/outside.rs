//! Who waits where no tasklet runs.
//!
//! Always: an OS thread that is in no run waits only if all that it waits for can come from others.

use super::Arm;
use crate::kernel::scheduler;
use crate::kernel::task::Task;
use std::rc::Rc;

/// This OS thread, where no scheduler is active and partners may come from others.
#[cold]
pub(super) fn waiter(arms: &[&mut dyn Arm]) -> Option<Rc<Task>> {
    let shared = !arms.is_empty() && arms.iter().all(|it| it.is_shared());
    if shared { scheduler::outsider() } else { None }
}
