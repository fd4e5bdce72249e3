//! Extended regular expressions, as `LC_ALL=C grep -E` reads them, in the syntax of `regex`.
//!
//! Always: a character is a byte, and no part of what comes out matches the end of a line, so that
//! a match lies within a line. Where POSIX leaves it open, as in GNU grep: an operator that has
//! nothing to repeat is dropped; `)` and `{` that end or begin nothing are characters; `\w`, `\W`,
//! `\s`, `\S`, `\b`, `\B`, `\<` and `\>` are known. There are no back-references.

/// The most often that something can be repeated: `RE_DUP_MAX`.
const REPEATED_MAX: u32 = 32_767;

/// A pattern for `regex::bytes` without Unicode and with many lines; of many lines in `pattern`
/// each is a pattern of its own.
///
/// # Errors
/// What is wrong with it.
pub fn translated(pattern: &[u8]) -> Result<String, &'static str> {
    let lines = pattern.split(|it| *it == b'\n').map(|line| {
        let reader = Reader { rest: line, out: String::new(), open: Vec::new(), last: None };
        reader.read()
    });
    Ok(lines.collect::<Result<Vec<_>, _>>()?.join("|"))
}

/// Who translates one line.
struct Reader<'a> {
    /// What is left of it.
    rest: &'a [u8],
    out: String,
    /// Where in `out` the groups begin that have not ended.
    open: Vec<usize>,
    /// Where in `out` that begins which an operator would repeat.
    last: Option<usize>,
}

impl<'a> Reader<'a> {
    fn read(mut self) -> Result<String, &'static str> {
        while let Some((&byte, rest)) = self.rest.split_first() {
            self.rest = rest;
            match byte {
                b'\\' => self.escaped()?,
                b'[' => self.bracket()?,
                b'{' => self.interval()?,
                b'*' | b'+' | b'?' => self.repeat(char::from(byte).encode_utf8(&mut [0; 4])),
                b'^' | b'$' | b'.' => self.add(char::from(byte).encode_utf8(&mut [0; 4])),
                b'|' => {
                    self.out.push('|');
                    self.last = None;
                }
                b'(' => {
                    self.open.push(self.out.len());
                    self.out.push_str("(?:");
                    self.last = None;
                }
                b')' if !self.open.is_empty() => {
                    self.out.push(')');
                    self.last = self.open.pop();
                }
                _ => self.add(&literal(byte)),
            }
        }
        if self.open.is_empty() { Ok(self.out) } else { Err("unmatched ( or \\(") }
    }

    /// Something that an operator behind it repeats.
    fn add(&mut self, atom: &str) {
        self.last = Some(self.out.len());
        self.out.push_str(atom);
    }

    fn repeat(&mut self, operator: &str) {
        if let Some(last) = self.last {
            self.out.insert_str(last, "(?:");
            self.out.push(')');
            self.out.push_str(operator);
        }
    }

    /// What comes behind a backslash.
    fn escaped(&mut self) -> Result<(), &'static str> {
        let (&byte, rest) = self.rest.split_first().ok_or("trailing backslash")?;
        self.rest = rest;
        let word = |it: u8| it.is_ascii_alphanumeric() || it == b'_';
        match byte {
            b'w' => self.add(&set(word)),
            b'W' => self.add(&set(|it| !word(it))),
            b's' => self.add(&set(is_space)),
            b'S' => self.add(&set(|it| !is_space(it))),
            b'b' => self.add(r"\b"),
            b'B' => self.add(r"\B"),
            b'<' => self.add(r"\b{start}"),
            b'>' => self.add(r"\b{end}"),
            b'`' => self.add("^"),
            b'\'' => self.add("$"),
            b'1'..=b'9' => return Err("back-references are not supported"),
            _ => self.add(&literal(byte)),
        }
        Ok(())
    }

    /// `{2}`, `{2,}`, `{,2}`, `{2,3}` and `{,}`; a brace before anything else is a character.
    fn interval(&mut self) -> Result<(), &'static str> {
        let inside = self.rest.iter().position(|it| *it == b'}').map(|end| &self.rest[..end]);
        let numbers = inside.filter(|it| !it.is_empty()).and_then(|inside| {
            let mut numbers = inside.split(|it| *it == b',').map(number);
            let (least, most) = (numbers.next()?, numbers.next());
            numbers.next().is_none().then_some((least?, most.unwrap_or(least)?))
        });
        let (Some(inside), Some((least, most))) = (inside, numbers) else {
            self.add(&literal(b'{'));
            return Ok(());
        };
        self.rest = &self.rest[inside.len() + 1..];
        let least = least.unwrap_or(0);
        if least.max(most.unwrap_or(0)) > REPEATED_MAX {
            return Err("regular expression too big");
        }
        match most {
            Some(most) if most < least => return Err("invalid content of \\{\\}"),
            Some(most) => self.repeat(&format!("{{{least},{most}}}")),
            None => self.repeat(&format!("{{{least},}}")),
        }
        Ok(())
    }

    /// What is between brackets.
    fn bracket(&mut self) -> Result<(), &'static str> {
        let negated = self.skip(b"^");
        let (mut members, mut first, mut ranged) = ([false; 256], true, false);
        let text = self.rest;
        while first || !self.rest.starts_with(b"]") {
            first = false;
            if let Some(name) = self.named(b':')? {
                let class = class(name)?;
                (0..=255).for_each(|it| members[usize::from(it)] |= class(it));
                ranged = true;
                continue;
            }
            // Behind a range, or a class, a hyphen is the last member or a mistake.
            let hyphen = ranged && self.rest.starts_with(b"-") && !self.rest.starts_with(b"-]");
            let from = self.member()?;
            ranged = self.rest.starts_with(b"-") && !self.rest.starts_with(b"-]");
            let to = if ranged && self.skip(b"-") { self.member()? } else { from };
            if hyphen || from > to {
                return Err("invalid range end");
            }
            members[usize::from(from)..=usize::from(to)].fill(true);
        }
        let inside = &text[..text.len() - self.rest.len()];
        if !negated && inside.len() > 1 && inside.starts_with(b":") && inside.ends_with(b":") {
            return Err("character class syntax is [[:space:]], not [:space:]");
        }
        self.skip(b"]");
        self.add(&set(|it| members[usize::from(it)] != negated));
        Ok(())
    }

    /// A byte, or one that is named, as in `[.-.]`.
    fn member(&mut self) -> Result<u8, &'static str> {
        for mark in [b'.', b'='] {
            match self.named(mark)? {
                Some([byte]) => return Ok(*byte),
                Some(_) => return Err("invalid collation character"),
                None => {}
            }
        }
        let (&byte, rest) = self.rest.split_first().ok_or(UNMATCHED)?;
        self.rest = rest;
        Ok(byte)
    }

    /// What is named, if a name is next: `[:alpha:]`.
    fn named(&mut self, mark: u8) -> Result<Option<&'a [u8]>, &'static str> {
        if !self.skip(&[b'[', mark]) {
            return Ok(None);
        }
        let end = self.rest.windows(2).position(|it| it == [mark, b']']).ok_or(UNMATCHED)?;
        let name = &self.rest[..end];
        self.rest = &self.rest[end + 2..];
        Ok(Some(name))
    }

    /// Whether this was next.
    fn skip(&mut self, text: &[u8]) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }
}

const UNMATCHED: &str = "unmatched [, [^, [:, [., or [=";

/// No number, if there is no digit; `None` if there is something else.
fn number(digits: &[u8]) -> Option<Option<u32>> {
    let digit = |sum: u32, it: &u8| {
        let sum = sum.saturating_mul(10).saturating_add(u32::from(it.wrapping_sub(b'0')));
        it.is_ascii_digit().then_some(sum)
    };
    let number = digits.iter().try_fold(0, digit)?;
    Some((!digits.is_empty()).then_some(number))
}

/// Which bytes a class has that is named like this.
fn class(name: &[u8]) -> Result<fn(u8) -> bool, &'static str> {
    Ok(match name {
        b"alnum" => |it| it.is_ascii_alphanumeric(),
        b"alpha" => |it| it.is_ascii_alphabetic(),
        b"blank" => |it| matches!(it, b' ' | b'\t'),
        b"cntrl" => |it| it.is_ascii_control(),
        b"digit" => |it| it.is_ascii_digit(),
        b"graph" => |it| it.is_ascii_graphic(),
        b"lower" => |it| it.is_ascii_lowercase(),
        b"print" => |it| it == b' ' || it.is_ascii_graphic(),
        b"punct" => |it| it.is_ascii_punctuation(),
        b"space" => is_space,
        b"upper" => |it| it.is_ascii_uppercase(),
        b"xdigit" => |it| it.is_ascii_hexdigit(),
        _ => return Err("invalid character class name"),
    })
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// These bytes, but for the end of a line.
fn set(has: impl Fn(u8) -> bool) -> String {
    let members = (0..=255).filter(|it| *it != b'\n' && has(*it)).map(|it| format!("\\x{it:02x}"));
    match members.collect::<String>() {
        none if none.is_empty() => r"[^\x00-\xff]".into(),
        some => format!("[{some}]"),
    }
}

fn literal(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() { char::from(byte).into() } else { format!("\\x{byte:02x}") }
}
