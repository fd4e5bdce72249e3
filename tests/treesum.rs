//! The example `treesum` prints what `find | sort | xargs sha256sum` prints, on trees of all kinds.
#![cfg(all(target_os = "linux", not(miri)))]

mod support;

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use support::example::built;

/// The line that treesum is measured by; its DIR is `$1`.
const LINE: &str = r#"find "$1" -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum"#;

/// The user nobody, for whom permissions count even if the tests run as root.
const NOBODY: u32 = 65_534;

/// A directory that goes away with the test.
struct Tree(PathBuf);

impl Tree {
    fn new() -> Tree {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("treesum-{}-{count}", std::process::id()));
        fs::create_dir(&root).unwrap();
        Tree(root)
    }

    fn path(&self, name: impl AsRef<[u8]>) -> PathBuf {
        self.0.join(OsStr::from_bytes(name.as_ref()))
    }

    /// Makes a file, and the directories it is in.
    fn file(&self, name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// treesum with `args`, run in this directory; `timeout` so that a hang is a failure.
    fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new("timeout");
        command
            .arg("300")
            .arg(built("treesum"))
            .args(args)
            .current_dir(&self.0)
            .stdin(Stdio::null());
        command
    }

    fn treesum<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Output {
        self.command(args).output().unwrap()
    }

    /// What the shell line prints.
    fn line(&self, dir: impl AsRef<OsStr>) -> Vec<u8> {
        let mut bash = Command::new("bash");
        bash.args(["-c", LINE, "line"]).arg(dir).current_dir(&self.0).stdin(Stdio::null());
        bash.output().unwrap().stdout
    }

    /// treesum prints what the shell line prints, and has nothing to complain about.
    #[track_caller]
    fn agrees(&self, dir: impl AsRef<OsStr>) {
        let dir = dir.as_ref();
        let output = self.treesum([dir]);
        assert_same(&output.stdout, &self.line(dir));
        assert_eq!(text(&output.stderr), "", "DIR was {dir:?}");
        assert!(output.status.success(), "{:?} for {dir:?}", output.status);
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let removed = fs::remove_dir_all(&self.0);
        assert!(removed.is_ok() || std::thread::panicking(), "{removed:?}");
    }
}

#[track_caller]
fn assert_same(ours: &[u8], theirs: &[u8]) {
    let lines = |it: &[u8]| it.split(|it| *it == b'\n').map(text).collect::<Vec<_>>();
    let (left, right) = (lines(ours), lines(theirs));
    if let Some(at) = (0..left.len().max(right.len())).find(|it| left.get(*it) != right.get(*it)) {
        panic!("line {at} is {:?}, not {:?}", left.get(at), right.get(at));
    }
    assert!(ours == theirs, "the texts differ where they are not UTF-8");
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn odd_names_are_written_as_sha256sum_writes_them() {
    let tree = Tree::new();
    let names: [&[u8]; 16] = [
        b"new\nline",
        b"\n",
        b"back\\slash",
        b"\\",
        b"return\r",
        b"all\r\n\\three",
        b"\xff\xfe not UTF-8",
        b"-dash",
        b"--help",
        b" space ",
        b"'quo'te\"s`$()*?[",
        b"tab\t bell\x07 escape\x1b",
        b"\xc3\xa4\xe2\x82\xac",
        b"...",
        b"#",
        b"~",
    ];
    for name in names {
        tree.file(name, name);
        tree.file([b"in/", name, b"/", name].concat(), "below");
    }
    tree.agrees(".");
    tree.agrees("in");
    tree.agrees(OsStr::from_bytes(b"in/all\r\n\\three"));
}

#[test]
fn files_come_in_the_byte_order_of_their_whole_paths() {
    let tree = Tree::new();
    // Bytes on both sides of the slash: `.` is the one before it and `0` the one behind.
    for end in ["", " ", "!", "-", "--", ".", ".b", "0", "00", "~"] {
        tree.file(format!("files/a{end}/x"), end);
        tree.file(format!("files/b/a{end}x"), end);
        tree.file(format!("files/c{end}"), end);
        tree.file(format!("files/a/a{end}/a"), end);
    }
    tree.file(b"files/a\xff/x", "last");
    tree.file(format!("files/{}end", "deep/".repeat(300)), "deep");
    tree.agrees("files");
}

#[test]
fn only_regular_files_count_and_links_are_not_followed() {
    let tree = Tree::new();
    tree.file("dir/empty", "");
    tree.file("dir/sub/file", "content");
    tree.file("outside/file", "must not be read");
    fs::create_dir(tree.path("dir/hollow")).unwrap();
    fs::hard_link(tree.path("dir/sub/file"), tree.path("dir/again")).unwrap();
    symlink("sub/file", tree.path("dir/to-file")).unwrap();
    symlink("../outside", tree.path("dir/to-dir")).unwrap();
    symlink("..", tree.path("dir/sub/up")).unwrap();
    symlink("nowhere", tree.path("dir/dangling")).unwrap();
    let made = Command::new("mkfifo").arg(tree.path("dir/pipe")).status().unwrap();
    assert!(made.success());
    tree.agrees("dir");
}

#[test]
fn dir_may_be_spelled_in_any_way() {
    let tree = Tree::new();
    tree.file("x/a", "a");
    tree.file("x/sub/b", "b");
    fs::create_dir(tree.path("hollow")).unwrap();
    symlink("x", tree.path("link")).unwrap();
    for dir in ["x", "x/", "x//", "x///", "./x", ".//x//", "x/.", "x/./sub/../", ".", "./", "./."] {
        tree.agrees(dir);
    }
    for dir in ["x/sub", "x//sub", "link/", "link/.", "link//sub", "x/a", "./x//a"] {
        tree.agrees(dir);
    }
    tree.agrees(tree.path("x"));
    // Of a link, and of a directory without files, the line makes the sum of nothing.
    for dir in ["link", "hollow", "hollow/"] {
        tree.agrees(dir);
        assert!(text(&tree.treesum([dir]).stdout).ends_with("  -\n"));
    }
}

#[test]
fn a_dir_that_is_not_there_is_a_failure() {
    let tree = Tree::new();
    tree.file("file", "");
    for dir in ["nowhere", "", "file/", "nowhere/below"] {
        let output = tree.treesum([dir]);
        assert_same(&output.stdout, &tree.line(dir));
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(text(&output.stderr).lines().count(), 1);
    }
}

#[test]
fn dir_may_begin_with_a_hyphen_after_two() {
    let tree = Tree::new();
    for dir in ["-x", "--", "--jobs"] {
        tree.file(format!("{dir}/-y\n/--z"), "z");
        let output = tree.treesum(["--", dir]);
        let expected = text(&tree.line(format!("./{dir}"))).replace("  ./", "  ");
        assert_eq!(text(&output.stdout), expected);
        assert!(output.status.success());
    }
    fs::create_dir(tree.path("-")).unwrap();
    assert!(tree.treesum(["-"]).status.success());
}

#[test]
fn a_file_that_cannot_be_opened_costs_a_line_and_the_status() {
    let tree = Tree::new();
    tree.file("x/a", "before");
    tree.file("x/z", "after");
    // Nobody, not even root, can open a file by a name longer than PATH_MAX, 4096 with its zero.
    let mut dir = tree.path("x");
    while dir.as_os_str().len() < 3_900 {
        dir.push("d".repeat(100));
    }
    fs::create_dir_all(&dir).unwrap();
    let name = "f".repeat(250);
    let made = Command::new("touch").arg(&name).current_dir(&dir).status().unwrap();
    assert!(made.success());
    let whole = tree.path("x");
    let output = tree.treesum([&whole]);
    assert_same(&output.stdout, &tree.line(&whole));
    assert_eq!(output.stdout.iter().filter(|it| **it == b'\n').count(), 2);
    assert_eq!(output.status.code(), Some(1));
    let complaints = text(&output.stderr);
    assert_eq!(complaints.lines().count(), 1, "{complaints}");
    assert!(complaints.starts_with("treesum: ") && complaints.contains(&name));
}

#[test]
fn what_permissions_forbid_costs_a_line_each_and_the_status() {
    let tree = Tree::new();
    for name in ["x/a", "x/forbidden", "x/shut/b", "x/z"] {
        tree.file(name, name);
    }
    for (name, mode) in [("x/forbidden", 0o000), ("x/shut", 0o000), ("x", 0o755)] {
        fs::set_permissions(tree.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    let binary = tree.path("treesum");
    // Not `fs::copy`: a file that is open for writing, here or in what another test forks at that
    // moment, cannot be executed.
    assert!(Command::new("cp").arg(built("treesum")).arg(&binary).status().unwrap().success());
    let is_root = fs::metadata(&binary).unwrap().uid() == 0;
    let run = |mut command: Command| {
        command.current_dir(&tree.0);
        if is_root { command.uid(NOBODY).output() } else { command.output() }
    };
    let mut ours = Command::new(&binary);
    ours.arg("x");
    let mut line = Command::new("bash");
    line.args(["-c", LINE, "line", "x"]);
    let (Ok(output), Ok(line)) = (run(ours), run(line)) else {
        println!("left out: this root cannot become somebody else");
        return;
    };
    fs::set_permissions(tree.path("x/shut"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_same(&output.stdout, &line.stdout);
    assert_eq!(output.stdout.iter().filter(|it| **it == b'\n').count(), 2);
    let complaints = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{complaints}");
    assert_eq!(complaints.lines().count(), 2, "{complaints}");
    assert!(complaints.contains("x/forbidden") && complaints.contains("x/shut"), "{complaints}");
}

#[test]
fn a_file_that_vanishes_after_it_was_listed_costs_a_line_and_the_status() {
    let tree = Tree::new();
    let files = 5_000;
    (0..files).for_each(|it| tree.file(format!("x/{it:0100}"), "small"));
    let expected = text(&tree.line("x"));
    let mut command = tree.command(["--jobs", "1", "x"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut printed = String::new();
    // Something is printed, so the directory has been listed; the pipe takes no more than some
    // hundred lines, so the last file has not been opened.
    stdout.read_line(&mut printed).unwrap();
    fs::remove_file(tree.path(format!("x/{:0100}", files - 1))).unwrap();
    stdout.read_to_string(&mut printed).unwrap();
    let output = child.wait_with_output().unwrap();
    let all_but_the_last = expected.lines().take(files - 1).collect::<Vec<_>>().join("\n") + "\n";
    assert_same(printed.as_bytes(), all_but_the_last.as_bytes());
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr).lines().count(), 1);
}

#[test]
fn a_closed_pipe_is_a_quiet_end() {
    let tree = Tree::new();
    (0..3_000).for_each(|it| tree.file(format!("x/{it:0200}"), "small"));
    for jobs in ["1", "7"] {
        let mut command = tree.command(["--jobs", jobs, "x"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        assert!(first.ends_with("000\n"), "{first}");
        let output = child.wait_with_output().unwrap();
        assert_eq!((text(&output.stderr), output.status.code()), (String::new(), Some(0)));
    }
}

#[test]
fn a_full_disk_is_a_failure() {
    let tree = Tree::new();
    tree.file("x", "");
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = tree.command(["x"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with("treesum: "));
}

#[test]
fn bad_arguments_end_with_the_usage_and_status_2() {
    let tree = Tree::new();
    let cases: [&[&str]; 14] = [
        &[],
        &["--"],
        &["a", "b"],
        &["a", "--", "b"],
        &["--jobs"],
        &["--jobs", "."],
        &["--jobs", "0", "."],
        &["--jobs=0", "."],
        &["--jobs", "-1", "."],
        &["--jobs=", "."],
        &["--jobs", "99999999999999999999", "."],
        &["--nonsense", "."],
        &["-j", "."],
        &["-x"],
    ];
    for args in cases {
        let output = tree.treesum(args);
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(2), String::new()));
        let complaint = text(&output.stderr);
        assert!(complaint.starts_with("treesum: ") && complaint.contains("usage: "), "{complaint}");
    }
    let odd: [OsString; 1] = [OsStr::from_bytes(b"--\xff").into()];
    assert_eq!(tree.treesum(odd).status.code(), Some(2));
    let help = tree.treesum(["--help"]);
    assert!(help.status.success() && text(&help.stdout).contains("--jobs N"));
    assert_eq!(text(&help.stderr), "");
}

#[test]
fn a_terminal_gets_a_bar() {
    let tree = Tree::new();
    (0..500).for_each(|it| tree.file(format!("x/{it}"), "small"));
    let mut script = Command::new("script");
    script.arg("-qec").arg(format!("'{}' x 2>&1", built("treesum").display())).arg("/dev/null");
    script.env("TERM", "xterm").current_dir(&tree.0).stdin(Stdio::null());
    match script.output() {
        Ok(output) => assert!(text(&output.stdout).contains(" of 500 files")),
        Err(error) => println!("left out, for want of a terminal: {error}"),
    }
}

/// Numbers by a linear congruence: the same in every run.
fn numbers() -> impl FnMut(usize) -> usize {
    let mut state = 1_u64;
    move |below| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as usize % below
    }
}

#[test]
fn random_trees_agree_whatever_the_number_of_workers() {
    let tree = Tree::new();
    let mut number = numbers();
    let mut dirs = vec!["x".to_string()];
    for _ in 0..4_000 {
        let dir = &dirs[number(dirs.len())];
        let name = format!("{dir}/{}{}", ["a", "-", "0", ".", "b\\"][number(5)], number(1_000_000));
        let size = [0, 1, 55, 56, 64, 1_000, 20_000][number(7)];
        if number(15) == 0 && dir.len() < 200 {
            dirs.push(name);
        } else {
            tree.file(name, (0..size).map(|_| number(256) as u8).collect::<Vec<_>>());
        }
    }
    for large in ["x/+large", "x/large", "x/~large"] {
        tree.file(large, vec![7; 3_000_001]);
    }
    tree.agrees("x");
    let line = tree.line("x");
    for jobs in ["--jobs=1", "--jobs=2", "--jobs=7", "--jobs=300"] {
        assert_same(&tree.treesum([jobs, "x"]).stdout, &line);
    }
}

#[test]
fn a_directory_too_large_for_one_listing_agrees() {
    let tree = Tree::new();
    for it in 0..70_000 {
        let path = tree.path((it * 7_919 % 70_001).to_string()); // in no order
        if it % 1_000 == 0 {
            fs::create_dir(&path).unwrap();
            fs::write(path.join("inside"), "").unwrap();
        } else {
            File::create(path).unwrap();
        }
    }
    tree.agrees(".");
}
