//! Tells a guest the type of an argument that its manifest leaves open: a tree of `ArrowSchema`s.

use arrow::datatypes::DataType;
use sandmill_abi::SCHEMA_SIZE;

use crate::types::format_of;

/// Bytes of one struct: more than it has, because a guest's release callback is made for arrays and
/// may write where those keep it.
const STRUCT: usize = 64;
const _: () = assert!(SCHEMA_SIZE as usize <= STRUCT);

const NULLABLE: i64 = 2;
const KEYS_SORTED: i64 = 4;

/// The tree as bytes whose pointers count from their start.
pub(crate) struct Schema {
    bytes: Vec<u8>,
    pointers: Vec<usize>,
    releases: Vec<usize>,
}

impl Schema {
    pub(super) fn new(name: &str, ty: &DataType) -> Self {
        let mut schema = Self {
            bytes: Vec::with_capacity(256),
            pointers: Vec::new(),
            releases: Vec::new(),
        };
        schema.node(name, ty, true);
        schema
    }

    pub(super) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Writes it to `to`, which lies at `address` in the guest.
    pub(super) fn write(&self, to: &mut [u8], address: u32, release: u32) {
        to.copy_from_slice(&self.bytes);
        for at in &self.pointers {
            let slot = &mut to[*at..*at + 4];
            let offset = u32::from_le_bytes([slot[0], slot[1], slot[2], slot[3]]);
            slot.copy_from_slice(&(address + offset).to_le_bytes());
        }
        for at in &self.releases {
            to[*at..*at + 4].copy_from_slice(&release.to_le_bytes());
        }
    }

    fn room(&mut self, size: usize) -> usize {
        let at = self.bytes.len().next_multiple_of(8);
        self.bytes.resize(at + size, 0);
        at
    }

    fn point(&mut self, at: usize, to: usize) {
        self.bytes[at..at + 4].copy_from_slice(&(to as u32).to_le_bytes());
        self.pointers.push(at);
    }

    /// A text that ends with a zero.
    fn text(&mut self, at: usize, text: &str) {
        let text: Vec<u8> = text.bytes().filter(|byte| *byte != 0).collect();
        let to = self.room(text.len() + 1);
        self.bytes[to..to + text.len()].copy_from_slice(&text);
        self.point(at, to);
    }

    fn long(&mut self, at: usize, value: i64) {
        self.bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }

    fn node(&mut self, name: &str, ty: &DataType, nullable: bool) -> usize {
        let at = self.room(STRUCT);
        self.text(at, &format_of(ty));
        self.text(at + 4, name);
        self.releases.push(at + 40);
        let mut flags = if nullable { NULLABLE } else { 0 };
        let children = match ty {
            DataType::List(field) | DataType::LargeList(field) => std::slice::from_ref(field),
            DataType::FixedSizeList(field, _) => std::slice::from_ref(field),
            DataType::Map(field, sorted) => {
                flags |= if *sorted { KEYS_SORTED } else { 0 };
                std::slice::from_ref(field)
            }
            DataType::Struct(fields) => fields,
            DataType::Dictionary(_, values) => {
                let values = self.node("", values, true);
                self.point(at + 36, values);
                &[]
            }
            _ => &[],
        };
        self.long(at + 16, flags);
        self.long(at + 24, children.len() as i64);
        if !children.is_empty() {
            let links = self.room(children.len() * 4);
            self.point(at + 32, links);
            for (n, field) in children.iter().enumerate() {
                let child = self.node(field.name(), field.data_type(), field.is_nullable());
                self.point(links + n * 4, child);
            }
        }
        at
    }
}
