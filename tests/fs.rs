//! Files through the pool: as std's, with nothing lost when somebody is stopped.
#![cfg(not(miri))]

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tasklets::fs::{self, File, Permissions};
use tasklets::{Halt, block_trap, channel, explore, run, scope, spawn, yield_now};

/// A folder that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("tasklets-fs-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

#[test]
fn what_is_written_is_what_is_read() {
    let folder = Folder::new();
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|it| it as u8).collect();
    run(|| {
        let path = folder.0.join("file");
        let options = OpenOptions::new().read(true).write(true).create_new(true).clone();
        let mut file = File::open_with(&options, &path).unwrap();
        file.write_all(&bytes).unwrap();
        assert_eq!(file.stream_position().unwrap(), 1_000_000);
        file.rewind().unwrap();
        let mut got = Vec::new();
        file.read_to_end(&mut got).unwrap();
        assert!(got == bytes);
        assert_eq!(file.read(&mut [0; 8]).unwrap(), 0);
        assert_eq!(file.read(&mut []).unwrap(), 0);
        assert!(fs::read(&path).unwrap() == bytes);
        file.set_len(3).unwrap();
        file.sync_all().unwrap();
        assert_eq!(file.metadata().unwrap().len(), 3);
        assert_eq!(fs::read(&path).unwrap(), [0, 1, 2]);
    });
}

#[test]
fn the_position_is_where_the_reader_is() {
    let folder = Folder::new();
    let path = folder.file("digits", b"0123456789");
    run(|| {
        let options = OpenOptions::new().read(true).write(true).clone();
        let file = File::open_with(&options, &path).unwrap();
        let mut three = [0; 3];
        (&file).read_exact(&mut three).unwrap();
        assert_eq!((&file).stream_position().unwrap(), 3);
        (&file).write_all(b"xy").unwrap();
        assert_eq!((&file).seek(SeekFrom::Current(-4)).unwrap(), 1);
        let mut rest = String::new();
        (&file).read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "12xy56789");
        assert_eq!((&file).seek(SeekFrom::End(-2)).unwrap(), 8);
        let past = (&file).seek(SeekFrom::Current(-100)).unwrap_err();
        assert_eq!(past.kind(), ErrorKind::InvalidInput);
    });
}

/// A reader of a pipe that is stopped while a thread reads for it, and then given something.
fn stopped_reader() -> File {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let file = Rc::new(File::from(std::fs::File::from(OwnedFd::from(reader))));
    let same = file.clone();
    let stopped = spawn(move || (&*same).read(&mut [0; 100]));
    while format!("{file:?}").contains("std") {
        yield_now(); // until a thread has it, to read
    }
    stopped.cancel();
    let error = stopped.join().unwrap().unwrap_err();
    assert_eq!(error.downcast::<Halt>().unwrap(), Halt::Cancelled);
    writer.write_all(b"late").unwrap();
    Rc::into_inner(file).unwrap()
}

#[test]
fn what_a_stopped_reader_has_left_is_read_by_the_next() {
    run(|| {
        for _ in 0..50 {
            let mut file = stopped_reader();
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            assert_eq!(text, "late");
        }
    });
}

#[test]
fn a_clone_goes_on_where_the_other_was_also_when_that_was_stopped() {
    let folder = Folder::new();
    run(|| {
        let mut text = String::new();
        stopped_reader().try_clone().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "late");
        let mut file = File::open(folder.file("digits", b"0123456789")).unwrap();
        let mut clone = file.try_clone().unwrap();
        file.read_exact(&mut [0; 3]).unwrap();
        let mut next = [0; 2];
        clone.read_exact(&mut next).unwrap();
        assert_eq!(&next, b"34");
        clone.rewind().unwrap();
        drop(clone);
        assert_eq!(file.stream_position().unwrap(), 0);
    });
}

#[test]
fn a_new_file_takes_the_place_of_none() {
    let folder = Folder::new();
    run(|| {
        let path = folder.0.join("new");
        let mut new = File::create_new(&path).unwrap();
        new.write_all(b"first").unwrap();
        new.sync_data().unwrap();
        new.rewind().unwrap();
        let mut text = String::new();
        new.read_to_string(&mut text).unwrap(); // it may be read, too
        assert_eq!(text, "first");
        assert_eq!(File::create_new(&path).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"first");
        let mut end = File::open_with(File::options().append(true), &path).unwrap();
        end.write_all(b", last").unwrap();
        let mut back = File::from(OwnedFd::from(std::fs::File::open(&path).unwrap()));
        text.clear();
        back.read_to_string(&mut text).unwrap();
        assert_eq!(text, "first, last");
    });
}

#[test]
fn links_and_permissions_are_those_of_std() {
    let folder = Folder::new();
    let path = folder.file("one", b"1");
    run(|| {
        let (other, link) = (folder.0.join("other"), folder.0.join("link"));
        fs::hard_link(&path, &other).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().nlink(), 2);
        assert_eq!(fs::hard_link(&path, &other).unwrap_err().kind(), ErrorKind::AlreadyExists);
        std::os::unix::fs::symlink("nowhere", &link).unwrap();
        assert_eq!(fs::read_link(&link).unwrap(), PathBuf::from("nowhere"));
        assert_eq!(fs::read_link(&path).unwrap_err().kind(), ErrorKind::InvalidInput);
        fs::set_permissions(&other, Permissions::from_mode(0o640)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
        let missing = fs::set_permissions(&link, Permissions::from_mode(0o640)).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
    });
}

#[test]
fn many_readers_of_one_file_share_its_bytes() {
    let folder = Folder::new();
    let path = folder.file("bytes", &[1; 10_000]);
    run(|| {
        let file = File::open(&path).unwrap();
        let total = scope(|s| {
            let read_all = || {
                let mut got = Vec::new();
                (&file).read_to_end(&mut got).map(|_| got.len()).unwrap()
            };
            let readers: Vec<_> = (0..5).map(|_| s.spawn(read_all)).collect();
            readers.into_iter().map(|it| it.join().unwrap()).sum::<usize>()
        });
        assert_eq!(total, 10_000);
    });
}

#[test]
fn files_do_not_hold_up_the_others() {
    let (reader, writer) = std::io::pipe().unwrap();
    run(|| {
        let mut file = File::from(std::fs::File::from(std::os::fd::OwnedFd::from(reader)));
        let waits = spawn(move || file.read(&mut [0; 4]).unwrap());
        let (tx, rx) = channel();
        spawn(move || tx.send_all(0..1_000));
        assert_eq!(rx.into_iter().count(), 1_000);
        assert!(!waits.is_finished());
        drop(writer);
        assert_eq!(waits.join().unwrap(), 0);
    });
}

#[test]
fn a_folder_is_listed_whole_however_large() {
    let folder = Folder::new();
    let names: BTreeSet<_> = (0..300).map(|it| format!("file {it}")).collect();
    names.iter().for_each(|it| drop(folder.file(it, b"")));
    let listed: BTreeSet<_> = run(|| {
        let all = fs::read_dir(&folder.0).unwrap();
        all.map(|it| it.unwrap().file_name().into_string().unwrap()).collect()
    });
    assert_eq!(listed, names);
    let empty = Folder::new();
    assert!(run(|| fs::read_dir(&empty.0).unwrap().next().is_none()));
}

#[test]
fn who_is_stopped_in_a_folder_is_told_once_and_goes_on_when_that_is_over() {
    let folder = Folder::new();
    (0..200).for_each(|it| drop(folder.file(&format!("file {it}"), b"")));
    run(|| {
        let mut all = fs::read_dir(&folder.0).unwrap();
        let mut walk = fs::walk(&folder.0);
        walk.next().unwrap().unwrap(); // the folder itself
        let mut seen = (0, 0);
        for _ in 0..3 {
            let trap = block_trap();
            let (listed, walked) = (all.by_ref().collect(), walk.by_ref().collect());
            drop(trap);
            seen.0 += cannot_wait(listed);
            seen.1 += cannot_wait(walked);
            seen.0 += all.by_ref().take(1).map(Result::unwrap).count();
            seen.1 += walk.by_ref().take(1).map(Result::unwrap).count();
        }
        seen.0 += all.map(Result::unwrap).count();
        seen.1 += walk.map(Result::unwrap).count();
        assert_eq!(seen, (200, 200));
    });
}

/// Items that came before the one that says that waiting is not possible, which is the last.
fn cannot_wait<T: std::fmt::Debug>(mut items: Vec<std::io::Result<T>>) -> usize {
    let error = items.pop().unwrap().unwrap_err();
    assert_eq!(error.downcast::<Halt>().unwrap(), Halt::CannotWait);
    items.into_iter().map(Result::unwrap).count()
}

#[test]
fn a_listing_that_was_cancelled_while_a_thread_reads_loses_no_entry() {
    let folder = Folder::new();
    (0..500).for_each(|it| drop(folder.file(&format!("file {it}"), b"")));
    for turns in 0..40 {
        run(|| {
            let all = Rc::new(RefCell::new(fs::read_dir(&folder.0).unwrap()));
            let same = all.clone();
            let stopped = spawn(move || {
                let entries = same.borrow_mut().by_ref().collect::<Vec<_>>();
                entries.into_iter().filter(Result::is_ok).count()
            });
            (0..turns).for_each(|_| yield_now());
            stopped.cancel();
            let before = stopped.join().unwrap_or(0);
            let after = all.borrow_mut().by_ref().map(Result::unwrap).count();
            assert_eq!(before + after, 500);
        });
    }
}

#[test]
fn what_the_os_refuses_is_an_error_of_std_s_kind() {
    let folder = Folder::new();
    let file = folder.file("file", b"\xff\xfe");
    run(|| {
        let kind = |it: std::io::Result<()>| it.unwrap_err().kind();
        let missing = folder.0.join("missing");
        assert_eq!(kind(fs::read(&missing).map(drop)), ErrorKind::NotFound);
        assert_eq!(kind(File::open(&missing).map(drop)), ErrorKind::NotFound);
        assert_eq!(kind(fs::read_dir(&missing).map(drop)), ErrorKind::NotFound);
        assert_eq!(kind(fs::read_dir(&file).map(drop)), ErrorKind::NotADirectory);
        assert_eq!(kind(fs::read(&folder.0).map(drop)), ErrorKind::IsADirectory);
        assert_eq!(kind(fs::read_to_string(&file).map(drop)), ErrorKind::InvalidData);
        assert_eq!(kind(fs::copy(&missing, &file).map(drop)), ErrorKind::NotFound);
        assert_eq!(kind(fs::read("a\0b").map(drop)), ErrorKind::InvalidInput);
        let mut read_only = File::open(&file).unwrap();
        assert!(read_only.write(b"x").is_err());
    });
    let outside = fs::read(&file).unwrap_err();
    assert_eq!(outside.kind(), ErrorKind::Unsupported);
}

#[test]
fn a_run_that_is_explored_reads_files_in_its_own_step() {
    let explored = explore::Explore::new().run(|| {
        let (tx, rx) = channel();
        spawn(move || tx.send(fs::read("Cargo.toml").unwrap().len()));
        assert!(rx.recv().unwrap() > 0);
    });
    let text = format!("{explored:?}");
    assert!(!text.contains("panic"), "{text}");
}
