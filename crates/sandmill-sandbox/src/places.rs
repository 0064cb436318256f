//! Where in its source a guest's code comes from.
//!
//! A guest's DWARF is as hostile as the rest of it, and what reads DWARF can be made to work for hours.
//! So it is read once, in the limited compiler process, into a plain table that is kept beside the
//! compiled code; the server only looks places up.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use gimli::{EndianSlice, LittleEndian};
use serde::{Deserialize, Serialize};
use wasmparser::{Parser, Payload};

use crate::error::{Frame, clean};
use crate::machine::Lines;

/// Bytes of DWARF that are read.
const DWARF_BYTES: usize = 32 << 20;
/// Entries of a table.
const RANGES: usize = 500_000;
/// Functions that were inlined into each other at one place.
const DEPTH: usize = 16;
/// Bytes of a name or path.
const TEXT_BYTES: usize = 300;
/// How long reading may take; beyond it a module has no places.
const PATIENCE: Duration = Duration::from_secs(2);

type Reader<'a> = EndianSlice<'a, LittleEndian>;

/// Ranges of code with the functions, files and lines that they come from.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Places {
    /// Where the code begins in the module.
    code: u64,
    texts: Vec<String>,
    /// Calls that were inlined, innermost first: texts of function and file, line. Text 0 is none.
    stacks: Vec<Vec<(u32, u32, u32)>>,
    /// Starts in ascending order, each with the stack up to the next start. Stack 0 is none.
    ranges: Vec<(u32, u32)>,
}

impl Places {
    /// Reads back what `collect` made.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        serde_json::from_slice(bytes).unwrap_or_default()
    }

    /// The calls at an offset of the module, innermost first; empty when nothing is known.
    pub(crate) fn at(&self, offset: usize) -> Vec<Frame> {
        let Some(address) = (offset as u64)
            .checked_sub(self.code)
            .and_then(|a| u32::try_from(a).ok())
        else {
            return Vec::new();
        };
        let next = self.ranges.partition_point(|(start, _)| *start <= address);
        let range = next.checked_sub(1).and_then(|n| self.ranges.get(n));
        let stack = range.and_then(|(_, stack)| self.stacks.get(*stack as usize));
        let text = |n: u32| match n {
            0 => None,
            n => self.texts.get(n as usize).cloned(),
        };
        let frames = stack.into_iter().flatten();
        frames
            .map(|&(function, file, line)| Frame {
                function: text(function).unwrap_or_else(|| "?".into()),
                file: text(file),
                line: Some(line).filter(|line| *line > 0),
            })
            .collect()
    }
}

/// Whether a module has lines to keep.
pub(crate) fn lines(wasm: &[u8]) -> Lines {
    let mut payloads = Parser::new(0).parse_all(wasm).map_while(Result::ok);
    let found = payloads
        .any(|payload| matches!(payload, Payload::CustomSection(s) if s.name() == ".debug_line"));
    if found { Lines::Kept } else { Lines::Forgotten }
}

/// Reads a module's DWARF into a table; empty when it has none, or none that can be used.
pub(crate) fn collect(wasm: &[u8]) -> Vec<u8> {
    let places = read(wasm).unwrap_or_default();
    match places.ranges.is_empty() {
        true => Vec::new(),
        false => serde_json::to_vec(&places).unwrap_or_default(),
    }
}

fn read(wasm: &[u8]) -> Option<Places> {
    let mut sections: HashMap<&str, &[u8]> = HashMap::new();
    let mut code = 0..0;
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.ok()? {
            Payload::CustomSection(section) if section.name().starts_with(".debug_") => {
                sections.insert(section.name(), section.data());
            }
            Payload::CodeSectionStart { range, .. } => code = range,
            _ => {}
        }
    }
    let bytes: usize = sections.values().map(|s| s.len()).sum();
    if !sections.contains_key(".debug_line") || bytes > DWARF_BYTES {
        return None;
    }
    let section = |id: gimli::SectionId| {
        let data = sections.get(id.name()).copied().unwrap_or_default();
        Ok::<_, gimli::Error>(Reader::new(data, LittleEndian))
    };
    let dwarf = gimli::Dwarf::load(section).ok()?;
    let context = addr2line::Context::from_dwarf(dwarf).ok()?;
    let mut table = Table::new(u64::try_from(code.start).ok()?);
    let end = u64::try_from(code.len()).ok()?;
    let started = Instant::now();
    for (start, length, _) in context.find_location_range(0, end).ok()? {
        if table.found.len() >= RANGES || started.elapsed() > PATIENCE {
            return None;
        }
        // Code that the linker threw away lies at 0, where there is none.
        if start == 0 {
            continue;
        }
        let mut frames = context.find_frames(start).skip_all_loads().ok()?;
        let mut stack = Vec::new();
        while let Ok(Some(frame)) = frames.next() {
            let name = frame.function.as_ref().and_then(|f| f.raw_name().ok());
            let place = frame.location.as_ref();
            stack.push((
                name.map_or(0, |name| table.text(&plain_name(&name))),
                place
                    .and_then(|p| p.file)
                    .map_or(0, |file| table.text(file)),
                place.and_then(|p| p.line).unwrap_or(0),
            ));
            if stack.len() == DEPTH {
                break;
            }
        }
        let (start, end) = (u32::try_from(start).ok()?, start.saturating_add(length));
        let stack = table.stack(stack);
        table.found.push((start, u32::try_from(end).ok()?, stack));
    }
    Some(table.finish())
}

/// A name as it was written.
fn plain_name(name: &str) -> String {
    match rustc_demangle::try_demangle(name) {
        Ok(demangled) => format!("{demangled:#}"),
        Err(_) => name.to_owned(),
    }
}

/// Collects a table; equal texts and stacks are kept once.
struct Table {
    places: Places,
    texts: HashMap<String, u32>,
    stacks: HashMap<Vec<(u32, u32, u32)>, u32>,
    /// Start, end and stack of each range.
    found: Vec<(u32, u32, u32)>,
}

impl Table {
    fn new(code: u64) -> Self {
        Self {
            places: Places {
                code,
                texts: vec![String::new()],
                stacks: vec![Vec::new()],
                ranges: Vec::new(),
            },
            texts: HashMap::new(),
            stacks: HashMap::new(),
            found: Vec::new(),
        }
    }

    fn text(&mut self, text: &str) -> u32 {
        let text = clean(text.as_bytes(), TEXT_BYTES);
        let next = self.places.texts.len() as u32;
        let texts = &mut self.places.texts;
        *self.texts.entry(text).or_insert_with_key(|text| {
            texts.push(text.clone());
            next
        })
    }

    fn stack(&mut self, stack: Vec<(u32, u32, u32)>) -> u32 {
        let next = self.places.stacks.len() as u32;
        let stacks = &mut self.places.stacks;
        *self.stacks.entry(stack).or_insert_with_key(|stack| {
            stacks.push(stack.clone());
            next
        })
    }

    fn finish(mut self) -> Places {
        self.found.sort_unstable();
        let ranges = &mut self.places.ranges;
        for &(start, end, stack) in &self.found {
            // The gap that the range before left open begins where this one does.
            while ranges.last().is_some_and(|(last, _)| *last >= start) {
                ranges.pop();
            }
            ranges.push((start, stack));
            ranges.push((end, 0));
        }
        ranges.dedup_by_key(|(_, stack)| *stack);
        self.places
    }
}
