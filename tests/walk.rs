//! Walks: each entry once, in the order of paths, whatever the tree is, and nothing held up.
#![cfg(not(miri))]

use proptest::prelude::*;
use std::cell::Cell;
use std::error::Error;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tasklets::fs::{Entry, walk};
use tasklets::{Halt, Runtime, explore, pipeline, run, spawn, yield_now};

/// A folder that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("tasklets-walk-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    /// Makes a file and the folders it is in, unless a file or folder is in its way.
    fn file(&self, name: &str) {
        let path = self.0.join(name);
        if fs::create_dir_all(path.parent().unwrap()).is_ok() && !path.is_dir() {
            fs::write(path, name).unwrap();
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// The path by which an entry is ordered.
fn key(path: &Path, is_folder: bool) -> Vec<u8> {
    let slash: &[u8] = if is_folder { b"/" } else { b"" };
    [path.as_os_str().as_bytes(), slash].concat()
}

/// What a walk has to give.
fn model(root: &Path) -> Vec<Vec<u8>> {
    let (mut keys, mut left) = (Vec::new(), vec![root.to_owned()]);
    while let Some(path) = left.pop() {
        let is_folder = fs::symlink_metadata(&path).unwrap().is_dir();
        keys.push(key(&path, is_folder));
        if is_folder {
            left.extend(fs::read_dir(&path).unwrap().map(|it| it.unwrap().path()));
        }
    }
    keys.sort();
    keys
}

fn found(entry: io::Result<Entry>) -> Vec<u8> {
    let entry = entry.unwrap();
    key(&entry.path, entry.metadata.is_dir())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn a_walk_gives_each_entry_once_in_the_order_of_paths(
        names in prop::collection::vec(prop::collection::vec("[a0.é \\\n-]{1,2}x?", 1..4), 0..80)
    ) {
        let folder = Folder::new();
        for name in names {
            let name: Vec<_> = name.iter().map(|it| it.replace('.', "._")).collect();
            folder.file(&name.join("/"));
        }
        let expected = model(&folder.0);
        let got = run(|| walk(&folder.0).map(found).collect::<Vec<_>>());
        prop_assert_eq!(&got, &expected);
        let piped = run(|| pipeline::walk(&folder.0).map(found).collect::<Vec<_>>().run());
        prop_assert_eq!(piped.unwrap().value, expected);
    }
}

#[test]
fn links_are_given_and_not_followed() {
    let folder = Folder::new();
    folder.file("real/file");
    symlink(&folder.0, folder.0.join("real/loop")).unwrap();
    symlink("nowhere", folder.0.join("broken")).unwrap();
    symlink("real", folder.0.join("to-real")).unwrap();
    let names = |root: &Path| {
        let all = run(|| walk(root).map(Result::unwrap).collect::<Vec<_>>());
        let kind = |it: &Entry| (it.path.file_name().unwrap().to_owned(), it.metadata.is_symlink());
        all.iter().skip(1).map(kind).collect::<Vec<_>>()
    };
    let expected = [("broken", true), ("real", false), ("file", false), ("loop", true)];
    let expected = expected.into_iter().chain([("to-real", true)]);
    let expected: Vec<_> = expected.map(|(name, link)| (name.into(), link)).collect();
    assert_eq!(names(&folder.0), expected);
    assert_eq!(names(&folder.0.join("to-real")), []); // the root is a link, too
    assert_eq!(names(&folder.0.join("to-real/")).len(), 2); // where it leads to
}

#[test]
fn a_root_that_is_a_file_is_all_there_is_and_one_that_is_not_there_an_error() {
    let folder = Folder::new();
    folder.file("file");
    run(|| {
        let mut one = walk(folder.0.join("file"));
        let entry = one.next().unwrap().unwrap();
        assert_eq!((entry.path, entry.metadata.len()), (folder.0.join("file"), 4));
        assert!(one.next().is_none() && one.next().is_none());
        let bad: [(&[u8], ErrorKind); 4] = [
            (b"", ErrorKind::NotFound),
            (b"no\nsuch", ErrorKind::NotFound),
            (b"nul\0", ErrorKind::InvalidInput),
            (&[b'x'; 300], ErrorKind::InvalidFilename),
        ];
        for (root, kind) in bad {
            let root = Path::new(std::ffi::OsStr::from_bytes(root));
            let mut none = walk(root);
            let error = none.next().unwrap().unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().starts_with(&format!("{root:?}: ")), "{error}");
            let cause = error.source().unwrap().downcast_ref::<io::Error>().unwrap();
            assert_eq!(cause.kind(), kind);
            assert!(none.next().is_none());
        }
    });
}

#[test]
fn what_vanishes_meanwhile_is_an_error_and_the_walk_goes_on() {
    let folder = Folder::new();
    (0..200).for_each(|it| folder.file(&format!("{it:03}")));
    folder.file("gone/inside");
    folder.file("last");
    run(|| {
        let mut all = walk(&folder.0);
        all.next().unwrap().unwrap(); // it has been listed now, and not all has been looked at
        fs::remove_dir_all(folder.0.join("gone")).unwrap();
        fs::remove_file(folder.0.join("150")).unwrap();
        let (found, lost): (Vec<_>, Vec<_>) = all.partition(Result::is_ok);
        assert_eq!((found.len(), lost.len()), (200, 2));
        for (error, name) in lost.into_iter().zip(["150", "gone"]) {
            let error = error.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound);
            assert!(error.to_string().contains(&format!("/{name}\": ")), "{error}");
        }
    });
}

#[test]
fn others_run_while_folders_are_read() {
    let folder = Folder::new();
    (0..300).for_each(|it| folder.file(&format!("{it}")));
    run(|| {
        let turns = Rc::new(Cell::new(0));
        let other = turns.clone();
        let runner = spawn(move || {
            loop {
                other.set(other.get() + 1);
                yield_now();
            }
        });
        assert_eq!(walk(&folder.0).count(), 301);
        assert!(turns.get() >= 4, "{}", turns.get()); // as many as calls at least
        runner.cancel();
    });
}

#[test]
fn who_is_stopped_gets_that_as_the_last_item() {
    let folder = Folder::new();
    (0..300).for_each(|it| folder.file(&format!("{it}")));
    let root = folder.0.clone();
    run(move || {
        let walker = spawn(move || {
            let mut all = walk(root);
            all.next().unwrap().unwrap();
            tasklets::current().unwrap().cancel();
            let rest: Vec<_> = all.collect();
            let (last, before) = rest.split_last().unwrap();
            assert!(before.len() == 63 && before.iter().all(Result::is_ok));
            last.as_ref().unwrap_err().to_string()
        });
        assert_eq!(walker.join().unwrap(), io::Error::from(Halt::Cancelled).to_string());
    });
}

#[test]
fn a_walk_needs_a_run_and_a_place_in_the_queue() {
    let outside: Vec<_> = walk("src").collect();
    assert_eq!(outside.len(), 1);
    assert!(outside[0].is_err());
    let single = Runtime::builder().blocking_threads(1).blocking_queue(0).build();
    let counted = single.run(|| walk("src/fs").filter(Result::is_ok).count()).unwrap();
    assert!(counted == 0 || counted > 3, "{counted}"); // refused, or whole
}

#[test]
fn a_walk_gives_the_same_under_every_schedule() {
    let folder = Folder::new();
    ["a/b", "a-", "a0"].iter().for_each(|it| folder.file(it));
    let (root, expected) = (folder.0.clone(), model(&folder.0));
    explore::Explore::new().check(move || {
        let other = spawn(yield_now);
        let got = pipeline::walk(&root).map(found).collect::<Vec<_>>().run();
        assert_eq!(got.unwrap().value, expected);
        other.join().unwrap();
    });
}
