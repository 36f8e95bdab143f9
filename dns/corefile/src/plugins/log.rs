//! `log [NAMES...] [FORMAT] { class CLASSES... }`.

use hickory_proto::rr::Name;

use crate::arguments::Directive;
use crate::error::Error;
use crate::values;

const COMMON: &str = r#"{remote}:{port} - {>id} "{type} {class} {name} {proto} {size} {>do} {>bufsize}" {rcode} {>rflags} {rsize} {duration}"#;
const COMBINED: &str = r#"{remote}:{port} - {>id} "{type} {class} {name} {proto} {size} {>do} {>bufsize}" {rcode} {>rflags} {rsize} {duration} "{>opcode}""#;
const OPTIONS: [&str; 1] = ["class"];

/// Which questions are logged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// For which names.
    pub scope: Name,
    /// With what in braces is replaced.
    pub format: String,
    /// Which kinds of answers; none: all.
    pub classes: Vec<LogClass>,
}

/// A kind of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogClass {
    /// Records.
    Success,
    /// NXDOMAIN, or no records.
    Denial,
    /// Everything else.
    Error,
}

// === impl Log ===

impl Log {
    /// One for each name.
    pub(super) fn rules(directive: &Directive) -> Result<Vec<Self>, Error> {
        let mut names = directive.line.arguments.as_slice();
        let mut format = "{common}".to_owned();
        // As in CoreDNS: a format has braces, and comes after a name.
        if let Some((last, others)) = names.split_last()
            && last.text.contains('{')
        {
            format.clone_from(&last.text);
            names = others;
        }
        let format = format
            .replace("{common}", COMMON)
            .replace("{combined}", COMBINED);
        let mut classes = Vec::new();
        for line in &directive.options {
            if line.name.text != "class" {
                return Err(directive.unknown(line, &OPTIONS));
            }
            line.arguments().required("a class of answers")?;
            for word in &line.arguments {
                match word.text.as_str() {
                    "success" => classes.push(LogClass::Success),
                    "denial" => classes.push(LogClass::Denial),
                    "error" => classes.push(LogClass::Error),
                    "all" => {
                        classes.extend([LogClass::Success, LogClass::Denial, LogClass::Error]);
                    }
                    _ => return Err(word.is_not("success, denial, error or all")),
                }
            }
        }
        let scopes = values::zones_or_all(names)?.into_iter();
        let rule = |scope| Self {
            scope,
            format: format.clone(),
            classes: classes.clone(),
        };
        Ok(scopes.map(rule).collect())
    }
}
