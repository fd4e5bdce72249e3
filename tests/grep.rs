//! The example `grep` prints what GNU grep prints, in the same order.
#![cfg(all(target_os = "linux", not(miri)))]

mod support;

use proptest::prelude::*;
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
        grep.args(["-rnE", "-e", pattern, "."]).env("LC_ALL", "C");
        grep.current_dir(&self.0).output().unwrap()
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Fails unless both print the same, say the same of binary files and end in the same way.
fn assert_same(tree: &Tree, pattern: &str) {
    let (ours, gnu) = (tree.ours(pattern), tree.gnu(pattern));
    let text = |it: &Output| String::from_utf8_lossy(&it.stdout).into_owned();
    assert_eq!(text(&ours), text(&gnu), "{pattern:?}");
    let told = |it: &Output| -> Vec<String> {
        let lines = String::from_utf8_lossy(&it.stderr);
        lines.lines().filter(|it| it.ends_with("matches")).map(String::from).collect()
    };
    assert_eq!(told(&ours), told(&gnu), "{pattern:?}");
    assert_eq!(ours.status.code(), gnu.status.code(), "{pattern:?}: {ours:?} {gnu:?}");
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
        assert_same(&tree, pattern);
    }
}

#[test]
fn a_match_lies_within_a_line() {
    let tree = Tree::new("within");
    tree.file("a.c", "else\n{\nfoo\n bar\nfoo(\n)\n\nf(x)\t\n");
    for pattern in [
        "else[^{]",
        r"foo\s",
        r"\s+bar",
        "[^a-z]",
        r"foo\([^)]*\)",
        r"\W",
        r"\S\W",
        "[[:space:]]",
        "[[.(.][=b=]]",
        "\\`foo",
        "o\\'",
        "[\t-\r]",
        "[[:cntrl:]]b?",
    ] {
        assert_same(&tree, pattern);
    }
}

#[test]
fn words_have_ends() {
    let tree = Tree::new("words");
    tree.file("words", "foo\nfood\na foo.\nfoo_\n\n.\n");
    for pattern in [r"\bfoo\b", r"\<foo\>", r"foo\B", r"\B", r"\b", r"\<", r"\>$", r"^\w+$"] {
        assert_same(&tree, pattern);
    }
}

#[test]
fn bytes_that_are_no_text_are_searched() {
    let tree = Tree::new("bytes");
    tree.file("latin", b"caf\xe9\nna\xefve\nabc\n");
    tree.file("utf8", "caf\u{e9}\nna\u{ef}ve\n");
    for pattern in ["caf.", "caf.$", "caf..$", "[^a-z]", "na\u{ef}ve", "caf[\u{e9}]$", r"caf\w"] {
        assert_same(&tree, pattern);
    }
}

#[test]
fn of_a_binary_file_only_what_is_read_before_it_shows_is_printed() {
    let tree = Tree::new("binary");
    let block = 96 * 1024;
    tree.file("head", b"\0needle\n");
    tree.file("last", b"needle\n\0");
    tree.file("within", b"x\0needle\0y\n");
    for (nth, zero) in
        [1_000, 40_000, block - 1, block, block + 1, 3 * block].into_iter().enumerate()
    {
        let mut text = b"hay "
            .repeat(300)
            .iter()
            .chain(b"\nneedle\n")
            .copied()
            .collect::<Vec<_>>()
            .repeat(300);
        text[zero] = 0;
        tree.file(&format!("zero{nth}"), text);
    }
    for pattern in ["needle", "^needle$", "^y", "nothing at all", ""] {
        assert_same(&tree, pattern);
    }
}

/// What a pattern may be made of; nothing of which GNU grep has two opinions, such as `(*)`.
const PIECES: [&str; 52] = [
    "[:a:]",
    "[c-a]",
    "a",
    "b",
    "aa",
    "A",
    "0",
    "_",
    " ",
    "-",
    ",",
    "{",
    "b}",
    "a{2}",
    "{1,2}",
    "{,2}",
    "{2,}",
    "a{2,1}",
    "{x",
    "*",
    "+",
    "?",
    ".",
    "^",
    "$",
    "|",
    "(",
    "b)",
    "()",
    "(a|b)",
    "[ab]",
    "[^a]",
    "[]a]",
    "[^]a]",
    "[a-c]",
    "[b-]",
    "[-b]",
    "[",
    "]",
    "[[:alpha:]]",
    "[^[:space:]0]",
    "[[:oops:]]",
    "[a&&b]",
    "[\\d]",
    "\\*",
    "\\(",
    "\\b",
    "\\w",
    "\\W",
    "\\<",
    "\\B",
    "c\nb",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn a_pattern_means_what_it_means_to_grep(
        pattern in prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..8),
        lines in prop::collection::vec("[ab0_{},&\\\\|()\\[\\]*+?^$d \t-]{0,6}", 0..12),
    ) {
        let tree = Tree::new("pattern");
        tree.file("text", lines.join("\n"));
        assert_same(&tree, &pattern.concat());
    }
}

#[test]
fn bad_input_is_told() {
    let tree = Tree::new("bad");
    for (pattern, why) in [
        ("(", "unmatched ("),
        ("[a", "unmatched ["),
        (r"(a)\1", "back-references are not supported"),
        (r"a\", "trailing backslash"),
        ("a{2,1}", "invalid content"),
        ("a{32768}", "too big"),
    ] {
        let output = tree.ours(pattern);
        assert_eq!(output.status.code(), Some(2), "{pattern}");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(told.starts_with("grep: ") && told.contains(why), "{pattern}: {told}");
    }
    let nowhere = Command::new(built("grep")).args(["x", "/no/such/path"]).output().unwrap();
    assert_eq!(nowhere.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&nowhere.stderr).starts_with("grep: /no/such/path: "));
    let usage = Command::new(built("grep")).output().unwrap();
    assert_eq!(usage.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&usage.stderr).contains("grep -E"));
}
