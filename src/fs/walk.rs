//! All that is in a tree of folders, read some entries at a time.
//!
//! Always: in a tree that nobody changes meanwhile each entry comes once, in the byte order of
//! whole paths, a folder's with its slash (`a-`, `a/`, `a/b`, `a0`), so a folder comes right before
//! what is in it. Links are not followed. What is kept is bounded, however large a folder is: of
//! one with too many names it is listed again from where it has come to, and what fails in that is
//! told once.
//! Listing: `Whole`, or `Cut` behind a name and listed again from there.

use super::batches::Batches;
use std::collections::VecDeque;
use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{DirEntry, Metadata};
use std::io;
use std::path::{Path, PathBuf};

/// Entries that are read at a time: a call costs more than an entry.
const SOME: usize = 64;

/// Names of one folder kept at a time, up to twice this; for more it is listed again.
const NAMES: usize = 32 * 1024;

/// All that is at and under `root`: depth first, each folder's entries in the order of their names.
///
/// The order is the byte order of whole paths, if a folder's ends with a slash: of files that of
/// `find -type f | LC_ALL=C sort`. Folders come before what is in them; links are given, as links,
/// and not followed. Of a folder no more than 65,536 names are in memory.
///
/// # Errors
/// What cannot be read is an item, once, and the walk goes on behind it: its text begins with the
/// path, its kind is that of the OS's error, which is its [source](Error::source). If the tasklet
/// is stopped, or the [blocking](crate::blocking()) call is refused, that is the last item.
///
/// ```
/// use tasklets::{fs, run};
/// let paths = run(|| fs::walk("src/fs").map(|it| it.map(|it| it.path)).collect::<Vec<_>>());
/// let names = paths.iter().map(|it| it.as_ref().unwrap().to_str().unwrap());
/// assert!(names.clone().is_sorted() && names.collect::<Vec<_>>().contains(&"src/fs/walk.rs"));
///
/// let missing = run(|| fs::walk("no such folder").next()).unwrap().unwrap_err();
/// assert_eq!(missing.kind(), std::io::ErrorKind::NotFound);
/// assert!(missing.to_string().starts_with("\"no such folder\": "));
/// ```
#[doc(alias("walkdir", "find", "nftw", "fts"))]
pub fn walk(root: impl AsRef<Path>) -> Walk {
    let tree = Tree { root: Some(root.as_ref().to_owned()), listings: Vec::new() };
    Walk { entries: Batches::new(tree) }
}

/// What [`walk`] finds.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Entry {
    /// Where it is: the root as it was given, and names behind it.
    pub path: PathBuf,
    /// What the OS knows of it; of a link itself.
    pub metadata: Metadata,
}

/// Made by [`walk`]. Asked again when its tasklet is no longer stopped, it goes on where it was.
pub struct Walk {
    entries: Batches<Tree, io::Result<Entry>>,
}

impl Iterator for Walk {
    type Item = io::Result<Entry>;

    #[track_caller]
    fn next(&mut self) -> Option<io::Result<Entry>> {
        let entry = self.entries.next(|tree, found| {
            while found.len() < SOME {
                if !tree.step(found) {
                    return false;
                }
            }
            true
        })?;
        Some(entry.unwrap_or_else(|why| Err(why.into())))
    }
}

impl fmt::Debug for Walk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Walk").field("ended", &self.entries.is_ended()).finish_non_exhaustive()
    }
}

/// What is still to come.
struct Tree {
    /// Where to begin, until it has begun.
    root: Option<PathBuf>,
    /// The folders it is in, outermost first.
    listings: Vec<Listing>,
}

/// What is still to come of one folder.
struct Listing {
    folder: PathBuf,
    /// In order; of folders with a slash behind.
    names: std::vec::IntoIter<OsString>,
    /// The last of `names`, if there are more behind it that did not fit.
    last: Option<OsString>,
    /// It has been told that not all of it could be listed.
    failed: bool,
}

/// Where entries and errors go.
type Found = VecDeque<io::Result<Entry>>;

impl Tree {
    /// Finds at most one entry; false at the end of the tree.
    fn step(&mut self, found: &mut Found) -> bool {
        if let Some(root) = self.root.take() {
            self.find(root, found);
        } else if let Some(listing) = self.listings.last_mut() {
            if let Some(name) = listing.names.next() {
                let name = Path::new(&name).file_name().expect("a name, maybe with a slash");
                let path = listing.folder.join(name);
                self.find(path, found);
            } else if let Some(Listing { folder, last: Some(last), failed, .. }) =
                self.listings.pop()
            {
                self.enter(folder, &last, failed, found);
            }
        } else {
            return false;
        }
        true
    }

    /// Looks at what is there; what is in it comes next.
    fn find(&mut self, path: PathBuf, found: &mut Found) {
        match std::fs::symlink_metadata(&path) {
            Ok(metadata) => {
                let is_folder = metadata.is_dir();
                found.push_back(Ok(Entry { path: path.clone(), metadata }));
                if is_folder {
                    self.enter(path, OsStr::new(""), false, found);
                }
            }
            Err(error) => found.push_back(Err(about(&path, error))),
        }
    }

    /// Lists the names in `folder` behind `after`; a failure in that is told unless one was.
    fn enter(&mut self, folder: PathBuf, after: &OsStr, failed: bool, found: &mut Found) {
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) => return found.push_back(Err(about(&folder, error))),
        };
        let names = Names::behind(after, entries.map(|it| it.map(|it| name_to_sort(&it))));
        self.list(folder, names, failed, found);
    }

    /// Goes through those `names` next.
    fn list(&mut self, folder: PathBuf, names: Names, failed: bool, found: &mut Found) {
        let Names { names, all_fit, error } = names;
        let failing = error.is_some();
        if let Some(error) = error.filter(|_| !failed) {
            found.push_back(Err(about(&folder, error)));
        }
        let last = names.last().filter(|_| !all_fit).cloned();
        let failed = failed || failing;
        self.listings.push(Listing { folder, names: names.into_iter(), last, failed });
    }
}

/// The names of one folder that come next, in order.
struct Names {
    names: Vec<OsString>,
    /// There are none behind them.
    all_fit: bool,
    /// The first failure of the OS to tell one.
    error: Option<io::Error>,
}

impl Names {
    /// Those of `all` that come first behind `after`.
    fn behind(after: &OsStr, all: impl Iterator<Item = io::Result<OsString>>) -> Names {
        let (mut names, mut all_fit, mut error) = (Vec::new(), true, None);
        for name in all {
            match name {
                Ok(name) if *name > *after => names.push(name),
                Ok(_) => {}
                Err(why) => {
                    error.get_or_insert(why);
                }
            }
            if names.len() == 2 * NAMES {
                names.select_nth_unstable(NAMES);
                names.truncate(NAMES);
                all_fit = false;
            }
        }
        names.sort_unstable();
        if !all_fit {
            names.truncate(NAMES); // some behind them have been left out
        }
        Names { names, all_fit, error }
    }
}

/// An entry's name, with a slash if it is a folder. Of one that the OS does not tell of here, it
/// will tell why when its turn has come.
fn name_to_sort(entry: &DirEntry) -> OsString {
    let mut name = entry.file_name();
    if entry.file_type().is_ok_and(|it| it.is_dir()) {
        name.push("/");
    }
    name
}

/// What went wrong, and where.
#[derive(Debug)]
struct About {
    path: PathBuf,
    error: io::Error,
}

fn about(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), About { path: path.to_owned(), error })
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Quoted, so that it is one line whatever the path is.
        write!(f, "{:?}: {}", self.path, self.error)
    }
}

impl Error for About {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_larger_than_what_is_kept_gives_each_name_once_and_bounded_errors() {
        let count = 5 * NAMES / 2;
        let all = || (0..count).map(|it| format!("{:08}", (it * 7_919) % count).into());
        // Every other name is followed by a failure.
        let failing = |it: OsString| [Ok(it), Err(io::Error::other("no"))];
        let (mut after, mut got, mut listings) = (OsString::new(), Vec::new(), 0);
        loop {
            let listing = Names::behind(&after, all().flat_map(failing));
            assert!(listing.names.len() < 2 * NAMES && listing.error.is_some());
            listings += 1;
            got.extend(listing.names);
            if listing.all_fit {
                break;
            }
            after = got.last().expect("names that fit").clone();
        }
        let mut expected: Vec<OsString> = all().collect();
        expected.sort();
        assert!(got == expected && listings > 1, "{} of {count} in {listings}", got.len());
    }

    #[test]
    fn a_folder_that_is_listed_again_tells_of_a_failure_once() {
        let (mut tree, mut found) = (Tree { root: None, listings: Vec::new() }, Found::new());
        let mut failed = false;
        for error in [None, Some("no"), Some("still no"), None, Some("never")] {
            let error = error.map(io::Error::other);
            let names = Names { names: vec!["a".into()], all_fit: false, error };
            tree.list("folder".into(), names, failed, &mut found);
            failed = tree.listings.pop().expect("it was pushed").failed;
        }
        let told: Vec<_> = found.iter().map(|it| it.as_ref().unwrap_err().to_string()).collect();
        assert_eq!(told, ["\"folder\": no"]);
    }
}
