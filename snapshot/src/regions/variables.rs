//! Static variables, from DWARF.
//!
//! Only what is needed is read, and the work is bounded whatever the sections say: they may be made so that units share
//! one giant table of abbreviations, entries have thousands of attributes without content, and names never end.

use gimli::{
    Abbreviations, AttributeValue, DebugAbbrev, DebugAbbrevOffset, DebugInfo, DebuggingInformationEntry, Encoding,
    EndianSlice, Format, LittleEndian, Operation, UnitHeader, UnitOffset, constants as dw,
};

use crate::{names::readable, program::Program};

type Slice<'a> = EndianSlice<'a, LittleEndian>;
type Entry<'a> = DebuggingInformationEntry<Slice<'a>>;

/// Entries and attributes which are read. A debug build of a large server has a tenth of it.
const MAX_WORK: u64 = 100_000_000;
/// Units which are read: rustc makes up to 256 per crate.
const MAX_UNITS: usize = 10_000;
/// Bytes of one unit's abbreviations. LLVM's tables have a few thousand.
const MAX_ABBREVIATIONS: usize = 32 * 1024;
/// Variables which are remembered.
const MAX_VARIABLES: usize = 200_000;
/// Longer names are left out.
const MAX_NAME: usize = 1024;
/// Namespaces, types and functions around a variable.
const MAX_SCOPES: usize = 16;
/// Types are followed through this many definitions, arrays and qualifiers.
const MAX_TYPES: u32 = 16;

/// Static variables of a program, by address.
#[derive(Debug, Default)]
pub(super) struct Variables<'a> {
    sorted: Vec<Variable<'a>>,
}

#[derive(Debug)]
struct Variable<'a> {
    address: u64,
    /// In bytes; one, if its type does not tell.
    size: u64,
    name: VariableName<'a>,
}

#[derive(Debug)]
enum VariableName<'a> {
    /// As the linker knows it: the whole path, mangled.
    Linkage(&'a str),
    /// What is around it, and its own name.
    Path(Vec<&'a str>),
}

impl<'a> Variables<'a> {
    pub(super) fn of(program: &Program<'a>) -> Self {
        let mut reader = Reader { sections: DebugInformation::of(program), work: MAX_WORK, found: Vec::new() };
        reader.read();
        let mut sorted = reader.found;
        sorted.sort_by_key(|variable| variable.address);
        Self { sorted }
    }

    /// Where the last of them ends.
    pub(super) fn end(&self) -> u64 {
        self.sorted.last().map_or(0, |variable| variable.address.saturating_add(variable.size))
    }

    /// The name of the variable at this address, and how far into it the address is.
    pub(super) fn at(&self, address: u64) -> Option<(String, u64)> {
        let behind = self.sorted.partition_point(|variable| variable.address <= address);
        let variable = self.sorted.get(behind.checked_sub(1)?)?;
        let distance = address - variable.address;
        (distance < variable.size).then(|| (variable.name.readable(), distance))
    }
}

impl VariableName<'_> {
    fn readable(&self) -> String {
        match self {
            Self::Linkage(name) => readable(name),
            Self::Path(path) => readable(&path.join("::")),
        }
    }
}

/// The sections which are read.
#[derive(Clone, Copy, Default)]
struct DebugInformation<'a> {
    info: &'a [u8],
    abbreviations: &'a [u8],
    strings: &'a [u8],
    line_strings: &'a [u8],
    string_offsets: &'a [u8],
    addresses: &'a [u8],
}

impl<'a> DebugInformation<'a> {
    fn of(program: &Program<'a>) -> Self {
        let mut sections = Self::default();
        for (_, section) in &program.customs {
            match section.name() {
                ".debug_info" => sections.info = section.data(),
                ".debug_abbrev" => sections.abbreviations = section.data(),
                ".debug_str" => sections.strings = section.data(),
                ".debug_line_str" => sections.line_strings = section.data(),
                ".debug_str_offsets" => sections.string_offsets = section.data(),
                ".debug_addr" => sections.addresses = section.data(),
                _ => {}
            }
        }
        sections
    }
}

/// Why reading ends early.
enum Stop {
    /// This unit cannot be read.
    Unit,
    /// There was too much.
    All,
}

impl From<gimli::Error> for Stop {
    fn from(_: gimli::Error) -> Self {
        Self::Unit
    }
}

struct Reader<'a> {
    sections: DebugInformation<'a>,
    /// What is left of it.
    work: u64,
    found: Vec<Variable<'a>>,
}

impl<'a> Reader<'a> {
    fn read(&mut self) {
        let mut units = DebugInfo::new(self.sections.info, LittleEndian).units();
        for _ in 0..MAX_UNITS {
            let Ok(Some(header)) = units.next() else { return };
            if let Err(Stop::All) = self.unit(&header) {
                return;
            }
        }
    }

    fn unit(&mut self, header: &UnitHeader<Slice<'a>>) -> Result<(), Stop> {
        let offset = header.debug_abbrev_offset().0;
        let rest = self.sections.abbreviations.get(offset..).ok_or(Stop::Unit)?;
        let window = &rest[..rest.len().min(MAX_ABBREVIATIONS)];
        let abbreviations = &DebugAbbrev::new(window, LittleEndian).abbreviations(DebugAbbrevOffset(0))?;
        let mut unit = Unit { header, abbreviations, sections: self.sections, string_base: 0, address_base: 0 };
        let mut entries = header.entries_raw(abbreviations, None)?;
        let mut scopes = Scopes::default();
        let mut entry = Entry::null();
        while !entries.is_empty() {
            let depth = entries.next_depth();
            let Some(abbreviation) = entries.read_abbreviation()? else { continue };
            self.spend(1 + abbreviation.attributes().len() as u64)?;
            entries.read_attributes(abbreviation.attributes(), &mut entry.attrs)?;
            entry.tag = abbreviation.tag();
            scopes.leave(depth);
            match entry.tag {
                dw::DW_TAG_compile_unit | dw::DW_TAG_partial_unit => unit.set_bases(&entry),
                dw::DW_TAG_variable => self.variable(&unit, &entry, &scopes)?,
                tag if is_scope(tag) && abbreviation.has_children() => scopes.enter(depth, unit.name(&entry)),
                _ => {}
            }
        }
        Ok(())
    }

    fn spend(&mut self, work: u64) -> Result<(), Stop> {
        self.work = self.work.checked_sub(work).ok_or(Stop::All)?;
        Ok(())
    }

    fn variable(&mut self, unit: &Unit<'a, '_>, entry: &Entry<'a>, scopes: &Scopes<'a>) -> Result<(), Stop> {
        let Some(address) = unit.location(entry) else { return Ok(()) };
        // What is defined outside of its class or namespace refers to where it was declared.
        let declared = match entry.attr_value(dw::DW_AT_specification) {
            Some(AttributeValue::UnitRef(offset)) => Some(self.entry(unit, offset)?),
            _ => None,
        };
        let entries = [Some(entry), declared.as_ref()].into_iter().flatten();
        let linkage = entries.clone().find_map(|entry| unit.text(entry, dw::DW_AT_linkage_name));
        let own = || entries.clone().find_map(|entry| unit.name(entry));
        let Some(name) = linkage.map(VariableName::Linkage).or_else(|| Some(scopes.path(own()?))) else {
            return Ok(());
        };
        let ty = entries.clone().find_map(|entry| entry.attr_value(dw::DW_AT_type));
        let size = self.size(unit, ty, MAX_TYPES)?.unwrap_or(1);
        self.found.push(Variable { address, size, name });
        if self.found.len() < MAX_VARIABLES { Ok(()) } else { Err(Stop::All) }
    }

    fn entry(&mut self, unit: &Unit<'a, '_>, offset: UnitOffset) -> Result<Entry<'a>, Stop> {
        let entry = unit.header.entry(unit.abbreviations, offset)?;
        self.spend(1 + entry.attrs.len() as u64)?;
        Ok(entry)
    }

    /// Bytes of a value of this type.
    fn size(
        &mut self,
        unit: &Unit<'a, '_>,
        ty: Option<AttributeValue<Slice<'a>>>,
        depth: u32,
    ) -> Result<Option<u64>, Stop> {
        let (Some(AttributeValue::UnitRef(offset)), Some(depth)) = (ty, depth.checked_sub(1)) else {
            return Ok(None);
        };
        let entry = self.entry(unit, offset)?;
        if let Some(size) = entry.attr_value(dw::DW_AT_byte_size).and_then(|size| size.udata_value()) {
            return Ok(Some(size));
        }
        match entry.tag {
            dw::DW_TAG_pointer_type | dw::DW_TAG_reference_type | dw::DW_TAG_rvalue_reference_type => {
                Ok(Some(u64::from(unit.header.address_size())))
            }
            dw::DW_TAG_typedef
            | dw::DW_TAG_const_type
            | dw::DW_TAG_volatile_type
            | dw::DW_TAG_restrict_type
            | dw::DW_TAG_atomic_type => self.size(unit, entry.attr_value(dw::DW_AT_type), depth),
            dw::DW_TAG_array_type => {
                let element = self.size(unit, entry.attr_value(dw::DW_AT_type), depth)?;
                let count = self.count(unit, offset)?;
                Ok(element.zip(count).and_then(|(element, count)| element.checked_mul(count)))
            }
            _ => Ok(None),
        }
    }

    /// How many elements an array of this type has.
    fn count(&mut self, unit: &Unit<'a, '_>, array: UnitOffset) -> Result<Option<u64>, Stop> {
        let mut entries = unit.header.entries_raw(unit.abbreviations, Some(array))?;
        let mut entry = Entry::null();
        let mut count = None;
        // The array itself, then its dimensions.
        while entries.read_entry(&mut entry)? && entries.next_depth() == 1 {
            self.spend(1 + entry.attrs.len() as u64)?;
            if entry.tag == dw::DW_TAG_subrange_type {
                let Some(length) = length(&entry) else { return Ok(None) };
                count = count.unwrap_or(1_u64).checked_mul(length);
                if count.is_none() {
                    return Ok(None);
                }
            }
        }
        Ok(count)
    }
}

/// The length of one dimension.
fn length(subrange: &Entry<'_>) -> Option<u64> {
    let number = |name| subrange.attr_value(name).and_then(|value| value.udata_value());
    number(dw::DW_AT_count).or_else(|| number(dw::DW_AT_upper_bound)?.checked_add(1))
}

/// Whether names inside are told apart by its name.
fn is_scope(tag: gimli::DwTag) -> bool {
    matches!(
        tag,
        dw::DW_TAG_namespace
            | dw::DW_TAG_module
            | dw::DW_TAG_structure_type
            | dw::DW_TAG_class_type
            | dw::DW_TAG_union_type
            | dw::DW_TAG_enumeration_type
            | dw::DW_TAG_subprogram
    )
}

/// What is around an entry.
#[derive(Default)]
struct Scopes<'a> {
    open: Vec<(isize, &'a str)>,
}

impl<'a> Scopes<'a> {
    /// Those which do not contain an entry of this depth are over.
    fn leave(&mut self, depth: isize) {
        while self.open.last().is_some_and(|(outer, _)| *outer >= depth) {
            self.open.pop();
        }
    }

    fn enter(&mut self, depth: isize, name: Option<&'a str>) {
        if let Some(name) = name
            && self.open.len() < MAX_SCOPES
        {
            self.open.push((depth, name));
        }
    }

    fn path(&self, name: &'a str) -> VariableName<'a> {
        VariableName::Path(self.open.iter().map(|(_, scope)| *scope).chain([name]).collect())
    }
}

/// What is needed to understand an entry of a unit.
struct Unit<'a, 'unit> {
    header: &'unit UnitHeader<Slice<'a>>,
    abbreviations: &'unit Abbreviations,
    sections: DebugInformation<'a>,
    /// Where its own offsets of strings start.
    string_base: usize,
    /// Where its own addresses start.
    address_base: usize,
}

impl<'a> Unit<'a, '_> {
    fn set_bases(&mut self, root: &Entry<'a>) {
        if let Some(AttributeValue::DebugStrOffsetsBase(base)) = root.attr_value(dw::DW_AT_str_offsets_base) {
            self.string_base = base.0;
        }
        if let Some(AttributeValue::DebugAddrBase(base)) = root.attr_value(dw::DW_AT_addr_base) {
            self.address_base = base.0;
        }
    }

    fn encoding(&self) -> Encoding {
        self.header.encoding()
    }

    fn name(&self, entry: &Entry<'a>) -> Option<&'a str> {
        self.text(entry, dw::DW_AT_name)
    }

    fn text(&self, entry: &Entry<'a>, attribute: gimli::DwAt) -> Option<&'a str> {
        match entry.attr_value(attribute)? {
            AttributeValue::String(text) => text_at(text.slice(), 0),
            AttributeValue::DebugStrRef(offset) => text_at(self.sections.strings, offset.0),
            AttributeValue::DebugLineStrRef(offset) => text_at(self.sections.line_strings, offset.0),
            AttributeValue::DebugStrOffsetsIndex(index) => {
                let width = match self.encoding().format {
                    Format::Dwarf32 => 4,
                    Format::Dwarf64 => 8,
                };
                let offset = number_at(self.sections.string_offsets, self.string_base, index.0, width)?;
                text_at(self.sections.strings, usize::try_from(offset).ok()?)
            }
            _ => None,
        }
    }

    /// The address of a variable which has one, always the same.
    fn location(&self, variable: &Entry<'a>) -> Option<u64> {
        let expression = variable.attr_value(dw::DW_AT_location)?.exprloc_value()?;
        let mut operations = expression.operations(self.encoding());
        let address = match operations.next().ok()?? {
            Operation::Address { address } => address,
            Operation::AddressIndex { index } => {
                let width = usize::from(self.encoding().address_size);
                number_at(self.sections.addresses, self.address_base, index.0, width)?
            }
            _ => return None,
        };
        let address = match operations.next().ok()? {
            None => address,
            // LLVM merges globals.
            Some(Operation::PlusConstant { value }) => address.checked_add(value)?,
            Some(_) => return None,
        };
        // The linker puts zero or the last addresses where it has dropped a variable.
        (address != 0 && !self.header.is_tombstone_address(address)).then_some(address)
    }
}

/// The text which starts at `offset` and ends before a zero, or with the section if it has no zero to end with.
fn text_at(section: &[u8], offset: usize) -> Option<&str> {
    let rest = section.get(offset..)?;
    let window = &rest[..rest.len().min(MAX_NAME)];
    let end = window.iter().position(|byte| *byte == 0).or((window.len() < MAX_NAME).then_some(window.len()))?;
    std::str::from_utf8(&window[..end]).ok().filter(|text| !text.is_empty())
}

/// The `index`th number of `width` bytes behind `base`.
fn number_at(section: &[u8], base: usize, index: usize, width: usize) -> Option<u64> {
    let start = index.checked_mul(width)?.checked_add(base)?;
    let bytes = section.get(start..start.checked_add(width)?)?;
    (width <= 8).then(|| bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}
