//! Who a tasklet is: its id, its path in the tree of spawns, its name and where it was spawned.
//!
//! Always: a path depends only on the order in which a parent spawns, so it is the same in every
//! schedule; it is made only when somebody asks or when the first child appears.

use std::cell::{Cell, OnceCell};
use std::fmt;
use std::panic::Location;
use std::rc::Rc;

/// Identifies a tasklet within its run: counted in the order of spawning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskletId(pub(crate) u64);

impl fmt::Display for TaskletId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tasklet {}", self.0)
    }
}

/// A node of the tree of spawns.
#[derive(Debug)]
pub(crate) struct Path {
    parent: Option<Rc<Path>>,
    nth: u32,
}

impl Path {
    /// Writes `root.2.0` (the first tasklet of a run is the root; others made outside are `out.n`).
    pub(crate) fn write(&self, out: &mut dyn FnMut(&[u8])) {
        match &self.parent {
            Some(parent) => {
                parent.write(out);
                out(b".");
                write_number(self.nth, out);
            }
            None if self.nth == 0 => out(b"root"),
            None => {
                out(b"out.");
                write_number(self.nth, out);
            }
        }
    }
}

fn write_number(mut rest: u32, out: &mut dyn FnMut(&[u8])) {
    let mut digits = [b'0'; 10];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            return out(&digits[start..]);
        }
    }
}

/// All that tells one tasklet from another.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) id: TaskletId,
    pub(crate) name: Option<Rc<str>>,
    pub(crate) spawned_at: &'static Location<'static>,
    parent: Option<Rc<Path>>,
    nth: u32,
    own: OnceCell<Rc<Path>>,
    children: Cell<u32>,
}

impl Identity {
    /// The identity of the `nth` tasklet made outside of any other; the 0th is the root.
    pub(crate) fn outer(
        id: TaskletId,
        name: Option<Rc<str>>,
        spawned_at: &'static Location<'static>,
        nth: u32,
    ) -> Identity {
        let (own, children) = (OnceCell::new(), Cell::new(0));
        Identity { id, name, spawned_at, parent: None, nth, own, children }
    }

    /// The identity of the next child of `self`.
    pub(crate) fn child(
        &self,
        id: TaskletId,
        name: Option<Rc<str>>,
        spawned_at: &'static Location<'static>,
    ) -> Identity {
        let nth = self.children.get();
        self.children.set(nth.wrapping_add(1));
        let (own, children) = (OnceCell::new(), Cell::new(0));
        let parent = Some(self.path().clone());
        Identity { id, name, spawned_at, parent, nth, own, children }
    }

    pub(crate) fn path(&self) -> &Rc<Path> {
        self.own.get_or_init(|| Rc::new(Path { parent: self.parent.clone(), nth: self.nth }))
    }

    /// Writes the name, or the path, without allocating (a signal handler calls it).
    pub(crate) fn write(&self, out: &mut dyn FnMut(&[u8])) {
        if let Some(name) = &self.name {
            out(b"`");
            out(name.as_bytes());
            out(b"` (");
        }
        match &self.parent {
            Some(parent) => {
                parent.write(out);
                out(b".");
                write_number(self.nth, out);
            }
            None => Path { parent: None, nth: self.nth }.write(out),
        }
        if self.name.is_some() {
            out(b")");
        }
    }

    /// The path as text.
    pub(crate) fn path_text(&self) -> String {
        let mut text = Vec::new();
        self.path().write(&mut |part| text.extend_from_slice(part));
        String::from_utf8_lossy(&text).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_counts_the_children_of_each_parent() {
        let here = Location::caller();
        let root = Identity::outer(TaskletId(0), None, here, 0);
        let first = root.child(TaskletId(1), None, here);
        let second = root.child(TaskletId(2), Some("b".into()), here);
        let grandchild = second.child(TaskletId(3), None, here);
        assert_eq!(root.path_text(), "root");
        assert_eq!(first.path_text(), "root.0");
        assert_eq!(grandchild.path_text(), "root.1.0");
        assert_eq!(Identity::outer(TaskletId(9), None, here, 12).path_text(), "out.12");
        let mut text = Vec::new();
        second.write(&mut |part| text.extend_from_slice(part));
        assert_eq!(text, b"`b` (root.1)");
    }
}
