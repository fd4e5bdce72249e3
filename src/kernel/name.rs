//! Who a tasklet is: its id, its path in the tree of spawns, its name and where it was spawned.
//!
//! Always: a path depends only on the order in which a parent spawns, so it is the same in every
//! schedule; it is made only when somebody asks or when the first child appears.

use std::cell::{Cell, OnceCell};
use std::fmt;
use std::panic::Location;
use std::rc::Rc;

/// Identifies a tasklet within its run: counted in the order of spawning.
///
/// ```
/// use std::collections::BTreeMap;
/// use tasklets::{TaskletId, run, spawn};
/// run(|| {
///     let mut jobs: BTreeMap<TaskletId, &str> = BTreeMap::new();
///     let (first, second) = (spawn(|| ()), spawn(|| ()));
///     jobs.extend([(second.id(), "second"), (first.id(), "first")]);
///     assert!(jobs.values().eq(&["first", "second"])); // in the order of spawning
/// });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskletId(pub(crate) u64);

impl fmt::Display for TaskletId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tasklet {}", self.0)
    }
}

/// Generations of a long line of descent that are written without memory to write them in.
const SHOWN: usize = 64;

/// A node of the tree of spawns. A line of them may be longer than a stack is deep.
#[derive(Debug)]
pub(crate) struct Path {
    parent: Option<Rc<Path>>,
    nth: u32,
}

impl Path {
    /// Writes `root.2.0`; of a long line only the first and the last, as `root.(9 more).2.0`.
    pub(crate) fn write(&self, out: &mut dyn FnMut(&[u8])) {
        let (mut last, mut count) = ([0; SHOWN], 0);
        let first = self.climb(|nth| {
            if let Some(place) = last.get_mut(count as usize) {
                *place = nth;
            }
            count += 1;
        });
        first.write_first(out);
        let shown = SHOWN.min(count as usize);
        if count as usize > SHOWN {
            out(b".(");
            write_number(count - SHOWN as u32, out);
            out(b" more)");
        }
        last[..shown].iter().rev().for_each(|nth| write_next(*nth, out));
    }

    /// Writes all of it.
    fn write_out(&self, out: &mut dyn FnMut(&[u8])) {
        let mut all = Vec::new();
        self.climb(|nth| all.push(nth)).write_first(out);
        all.iter().rev().for_each(|nth| write_next(*nth, out));
    }

    /// Tells the numbers up to the first of the line, which it returns.
    fn climb(&self, mut tell: impl FnMut(u32)) -> &Path {
        let mut here = self;
        while let Some(parent) = &here.parent {
            tell(here.nth);
            here = parent;
        }
        here
    }

    /// Writes `root` (the first tasklet of a run) or `out.n` (others made outside).
    fn write_first(&self, out: &mut dyn FnMut(&[u8])) {
        if self.nth == 0 {
            return out(b"root");
        }
        out(b"out");
        write_next(self.nth, out);
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        // One after the other, not one within the other.
        let mut elder = self.parent.take();
        while let Some(mut path) = elder.and_then(Rc::into_inner) {
            elder = path.parent.take();
        }
    }
}

fn write_next(nth: u32, out: &mut dyn FnMut(&[u8])) {
    out(b".");
    write_number(nth, out);
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
    /// The identity of a tasklet that is not there yet.
    pub(crate) fn nobody() -> Identity {
        Identity {
            id: TaskletId(u64::MAX),
            name: None,
            spawned_at: Location::caller(),
            parent: None,
            nth: 0,
            own: OnceCell::new(),
            children: Cell::new(0),
        }
    }

    /// Makes it that of the `nth` nameless tasklet made outside of any other; the 0th is the root.
    pub(crate) fn become_outer(
        &mut self,
        id: TaskletId,
        spawned_at: &'static Location<'static>,
        nth: u32,
    ) {
        *self = Identity { id, spawned_at, nth, ..Identity::nobody() };
    }

    /// Makes a nameless one that of the next child of `parent`.
    #[inline]
    pub(crate) fn become_child(
        &mut self,
        parent: &Identity,
        id: TaskletId,
        spawned_at: &'static Location<'static>,
    ) {
        let nth = parent.children.get();
        parent.children.set(nth.wrapping_add(1));
        let path = parent.path();
        if !self.parent.as_ref().is_some_and(|it| Rc::ptr_eq(it, path)) {
            self.parent = Some(path.clone());
        }
        self.own.take();
        self.children.set(0);
        (self.id, self.spawned_at, self.nth) = (id, spawned_at, nth);
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
                write_next(self.nth, out);
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
        self.path().write_out(&mut |part| text.extend_from_slice(part));
        String::from_utf8_lossy(&text).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_counts_the_children_of_each_parent() {
        let here = Location::caller();
        let outer = |id, nth| {
            let mut who = Identity::nobody();
            who.become_outer(TaskletId(id), here, nth);
            who
        };
        let child = |parent: &Identity, id, name: Option<&str>| {
            let mut who = Identity::nobody();
            who.become_child(parent, TaskletId(id), here);
            who.name = name.map(Rc::from);
            who
        };
        let root = outer(0, 0);
        let first = child(&root, 1, None);
        let second = child(&root, 2, Some("b"));
        let mut grandchild = child(&second, 3, None);
        assert_eq!(root.path_text(), "root");
        assert_eq!(first.path_text(), "root.0");
        assert_eq!(grandchild.path_text(), "root.1.0");
        grandchild.become_child(&first, TaskletId(4), here);
        assert_eq!(grandchild.path_text(), "root.0.0", "its former path is forgotten");
        assert_eq!(outer(9, 12).path_text(), "out.12");
        let mut text = Vec::new();
        second.write(&mut |part| text.extend_from_slice(part));
        assert_eq!(text, b"`b` (root.1)");
    }

    #[test]
    fn of_a_long_line_the_middle_is_left_out() {
        let mut line = Rc::new(Path { parent: None, nth: 0 });
        for nth in 0..200 {
            line = Rc::new(Path { parent: Some(line), nth });
        }
        let mut text = Vec::new();
        line.write(&mut |part| text.extend_from_slice(part));
        let text = String::from_utf8(text).unwrap();
        assert!(text.starts_with("root.(136 more).136.137."), "{text}");
        assert!(text.ends_with(".198.199"), "{text}");
    }
}
