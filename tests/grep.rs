//! The example `grep` prints what GNU grep prints, in the same order.
#![cfg(all(target_os = "linux", not(miri)))]

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use support::example::built;

/// A directory that goes away with the test.
struct Tree(PathBuf);

impl Tree {
    fn new(name: &str) -> Tree {
        let root = std::env::temp_dir().join(format!("grep-{name}-{}", std::process::id()));
        fs::create_dir(&root).unwrap();
        Tree(root)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn ours(&self, pattern: &str) -> Output {
        Command::new(built("grep")).args([pattern, "."]).current_dir(&self.0).output().unwrap()
    }

    fn gnu(&self, pattern: &str) -> Output {
        let mut grep = Command::new("grep");
        grep.args(["-rnE", pattern, "."]).env("LC_ALL", "C");
        grep.current_dir(&self.0).output().unwrap()
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

#[test]
fn it_prints_what_grep_prints() {
    let tree = Tree::new("same");
    for nth in 0..200_u32 {
        let line = |it: u32| format!("{}needle {it}\n", "hay ".repeat((it * nth % 7) as usize));
        let text: String = (0..nth % 40).map(line).collect();
        tree.file(&format!("d{}/e{}/f{nth}", nth % 5, nth % 3), text);
    }
    tree.file("no-end", "last needle");
    tree.file("empty", "");
    tree.file("blank", "\n\n\n");
    tree.file("ends", "needle\r\nneedle\n\n");
    tree.file("latin", b"caf\xe9 needle\n");
    std::os::unix::fs::symlink("no-end", tree.0.join("link")).unwrap();
    for pattern in ["needle", "needle [0-9]*5$", "^hay", "^$", "^", "hay|last", "nothing at all"] {
        let (ours, gnu) = (tree.ours(pattern), tree.gnu(pattern));
        let text = |it: &Output| String::from_utf8_lossy(&it.stdout).into_owned();
        assert_eq!(text(&ours), text(&gnu), "{pattern}");
        assert_eq!(ours.status.code(), gnu.status.code(), "{pattern}");
    }
}

#[test]
fn bad_input_is_told() {
    let tree = Tree::new("bad");
    tree.file("binary", b"\0needle\n");
    assert_eq!(tree.ours("needle").stdout, b"Binary file ./binary matches\n");
    assert_eq!(tree.ours("(").status.code(), Some(2));
    let nowhere = Command::new(built("grep")).args(["x", "/no/such/path"]).output().unwrap();
    assert_eq!(nowhere.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&nowhere.stderr).starts_with("grep: /no/such/path: "));
    let usage = Command::new(built("grep")).output().unwrap();
    assert_eq!(usage.status.code(), Some(2));
}
