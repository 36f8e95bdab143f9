//! The server block that makes a cluster's CoreDNS forward the zone: a pure edit of its Corefile.
//!
//! The block goes before all others, whose bytes stay as they are. It is found again by its zone:
//! whoever rewrites a Corefile (kubeadm's migration does) may drop comments, and with them the
//! markers, and may put blocks in another order. Where a block for the zone is somebody else's,
//! nothing is changed.

mod blocks;

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use self::blocks::Block;
use crate::lexer::{OpenQuote, after_byte_order_mark, lex};

const BEGIN: &str = "# BEGIN tombolo";
const END: &str = "# END tombolo";

/// Where NodeLocal DNSCache listens is said in each of its blocks.
const BIND: &str = "bind";
/// The plugins of our block, but for `bind`: by these it is known where the markers are lost.
const PLUGINS: [&str; 4] = ["cache", "errors", "forward", "loadbalance"];

/// Why a Corefile was left as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It cannot be understood, so an edit might break it.
    #[error("line {line} of the Corefile: {problem}")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The zone, or a part of it, has a server block that is not ours.
    #[error(
        "line {line} of the Corefile has a server block for {key}, which Tombolo did not write: \
         take it out, or forward the zone by hand"
    )]
    ZoneTaken {
        /// Line, from 1.
        line: usize,
        /// The block's key that is in the zone.
        key: String,
    },
    /// CoreDNS answers the zone itself.
    #[error(
        "line {line} of the Corefile has the kubernetes plugin answer the zone (multicluster): \
         take that out, or do without Tombolo's resolver"
    )]
    Multicluster {
        /// Line, from 1.
        line: usize,
    },
}

// === impl Refusal ===

impl Refusal {
    /// A stable word for this error.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Syntax { .. } => "Syntax",
            Self::ZoneTaken { .. } => "ZoneTaken",
            Self::Multicluster { .. } => "Multicluster",
        }
    }
}

impl From<OpenQuote> for Refusal {
    fn from(quote: OpenQuote) -> Self {
        Self::Syntax {
            line: quote.line,
            problem: OpenQuote::PROBLEM,
        }
    }
}

/// `corefile` with a block that forwards `zone` to `server`: the one that is there is brought up to
/// date in its place, else there is a new one before all others.
///
/// # Errors
/// If that could break the Corefile, or go against what somebody else wrote into it.
pub fn install(corefile: &str, zone: &str, server: IpAddr) -> Result<String, Refusal> {
    let blocks = blocks::parse(corefile)?;
    refuse_multicluster(&blocks, zone)?;
    if let Some((block, key)) = blocks
        .iter()
        .find_map(|block| foreign(corefile, block, zone))
    {
        return Err(Refusal::ZoneTaken {
            line: block.line,
            key: key.to_owned(),
        });
    }
    let ours = our_ranges(corefile, &blocks, zone);
    let place = ours
        .first()
        .map_or_else(|| after_byte_order_mark(corefile), |range| range.start);
    let bind = common_bind(corefile, &blocks, zone);
    let block = server_block(zone, server, bind.as_deref());
    Ok(replace(corefile, &ours, place, &block))
}

/// `corefile` without the block that [`install`] wrote; as it is if there is none.
///
/// # Errors
/// If it cannot be told what the block is.
pub fn remove(corefile: &str, zone: &str) -> Result<String, Refusal> {
    // A broken Corefile that does not name the zone has nothing of ours, and is for others to mend.
    if !corefile.to_ascii_lowercase().contains(&normalized(zone)) {
        return Ok(corefile.to_owned());
    }
    let blocks = blocks::parse(corefile)?;
    Ok(replace(
        corefile,
        &our_ranges(corefile, &blocks, zone),
        0,
        "",
    ))
}

/// Whether CoreDNS notices a change of `corefile` without a restart.
#[must_use]
pub fn reloads(corefile: &str) -> bool {
    lex(corefile).is_ok_and(|tokens| tokens.iter().any(|token| token.text == "reload"))
}

/// Why each line is as it is: `docs/dns.md`.
fn server_block(zone: &str, server: IpAddr, bind: Option<&str>) -> String {
    let bind = bind.map_or_else(String::new, |bind| format!("    {bind}\n"));
    format!(
        "\
{BEGIN}: the names of the clusterset. Changes in this block are lost.
{zone}:53 {{
{bind}    errors
    cache {{
        success 9984 5 0
        denial 9984 1 0
    }}
    loadbalance
    forward . {server} {{
        max_concurrent 1000
    }}
}}
{END}
"
    )
}

/// The `bind` that all the other blocks have, if they have the same: a block without it would listen
/// on every address of the host, beside theirs.
fn common_bind(corefile: &str, blocks: &[Block<'_>], zone: &str) -> Option<String> {
    let is_snippet = |block: &Block<'_>| block.keys.first().is_some_and(|key| key.starts_with('('));
    let others = blocks
        .iter()
        .filter(|block| !is_snippet(block) && !is_ours(corefile, block, zone));
    let mut binds = others.map(|block| {
        let mut own = block
            .directives
            .iter()
            .filter(|directive| directive.depth == 1);
        let bind = own.find(|directive| directive.name == BIND)?;
        Some(format!("{BIND} {}", bind.arguments.join(" ")))
    });
    let first = binds.next()??;
    binds
        .all(|bind| bind.as_ref() == Some(&first))
        .then_some(first)
}

fn refuse_multicluster(blocks: &[Block<'_>], zone: &str) -> Result<(), Refusal> {
    let mut directives = blocks.iter().flat_map(|block| &block.directives);
    let answers = directives.find(|directive| {
        directive.name == "multicluster" && directive.arguments.iter().any(|key| is_in(key, zone))
    });
    answers.map_or(Ok(()), |directive| {
        Err(Refusal::Multicluster {
            line: directive.line,
        })
    })
}

/// The block and its key that is in the zone, if the block is not ours.
fn foreign<'a, 'b>(
    corefile: &str,
    block: &'b Block<'a>,
    zone: &str,
) -> Option<(&'b Block<'a>, &'b str)> {
    let key = block.keys.iter().find(|key| is_in(key, zone))?;
    (!is_ours(corefile, block, zone)).then_some((block, key))
}

fn is_ours(corefile: &str, block: &Block<'_>, zone: &str) -> bool {
    let [key] = block.keys.as_slice() else {
        return false;
    };
    if normalized(key) != normalized(zone) {
        return false;
    }
    markers(corefile, &block.gap_before, BEGIN).next().is_some() || is_of_our_shape(block)
}

fn is_of_our_shape(block: &Block<'_>) -> bool {
    let own = || {
        block
            .directives
            .iter()
            .filter(|directive| directive.depth == 1)
    };
    let names = own().map(|directive| directive.name.as_ref());
    let mut plugins: Vec<&str> = names.filter(|name| *name != BIND).collect();
    plugins.sort_unstable();
    let forwards_all_to_one = own().any(|directive| {
        let arguments: Vec<&str> = directive.arguments.iter().map(AsRef::as_ref).collect();
        directive.name == "forward"
            && matches!(arguments.as_slice(), [".", server] if is_server(server))
    });
    plugins == PLUGINS && forwards_all_to_one
}

fn is_server(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok() || text.parse::<SocketAddr>().is_ok()
}

/// What is ours: blocks and markers, but not what others have put between them. In order, without
/// overlaps.
fn our_ranges(corefile: &str, blocks: &[Block<'_>], zone: &str) -> Vec<Range<usize>> {
    let ours = blocks.iter().filter(|block| is_ours(corefile, block, zone));
    let ranges = ours.flat_map(|block| {
        let begin = markers(corefile, &block.gap_before, BEGIN).last();
        let end = markers(corefile, &block.gap_after, END).next();
        [begin, Some(whole_lines(corefile, &block.span)), end]
    });
    let mut ranges: Vec<_> = ranges.flatten().collect();
    // Between two of them the end of the first may come after the beginning of the second.
    ranges.sort_by_key(|range| range.start);
    ranges
}

/// The lines of `gap`, which has comments only, that begin with `marker`.
fn markers<'a>(
    corefile: &'a str,
    gap: &Range<usize>,
    marker: &'a str,
) -> impl Iterator<Item = Range<usize>> + use<'a> {
    let mut end = gap.start;
    let lines = corefile[gap.clone()].split_inclusive('\n');
    lines.filter_map(move |line| {
        let start = end;
        end += line.len();
        line.trim_start().starts_with(marker).then_some(start..end)
    })
}

/// `span` with the rest of its lines, if there is nothing else on them.
fn whole_lines(corefile: &str, span: &Range<usize>) -> Range<usize> {
    let before = &corefile[..span.start];
    let line = before.rfind('\n').map_or(0, |newline| newline + 1);
    let start = line.max(after_byte_order_mark(corefile));
    let start = if before[start..].trim().is_empty() {
        start
    } else {
        span.start
    };
    let after = &corefile[span.end..];
    let length = after.find('\n').map_or(after.len(), |newline| newline + 1);
    let length = if after[..length].trim().is_empty() {
        length
    } else {
        0
    };
    start..span.end + length
}

/// `corefile` with `text` at `place` and without `ranges`, of which the first may begin there.
fn replace(corefile: &str, ranges: &[Range<usize>], place: usize, text: &str) -> String {
    let mut edited = String::with_capacity(corefile.len() + text.len());
    edited.push_str(&corefile[..place]);
    edited.push_str(text);
    let mut kept_from = place;
    for range in ranges {
        edited.push_str(&corefile[kept_from..range.start]);
        kept_from = range.end;
    }
    edited.push_str(&corefile[kept_from..]);
    edited
}

/// Whether the key of a server block is `zone` or below it.
fn is_in(key: &str, zone: &str) -> bool {
    let (key, zone) = (normalized(key), normalized(zone));
    key.strip_suffix(&zone)
        .is_some_and(|left| left.is_empty() || left.ends_with('.'))
}

/// A key without scheme, port and last dot, in lower case, as CoreDNS compares it.
fn normalized(key: &str) -> String {
    let host = key.split_once("://").map_or(key, |(_, rest)| rest);
    let host = match host.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|octet| octet.is_ascii_digit()) => host,
        Some(_) | None => host,
    };
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

#[cfg(test)]
mod tests;
