//! Checked access to the guest's linear memory.

use super::errno::Errno;

/// At most this many iovecs in one call: WasmEdge's limit, and `IOV_MAX` on Linux.
const MAX_IOVECS: u32 = 1024;

/// A guest's memory 0. Every offset and length comes from the guest: out of range is [`Errno::Fault`].
pub(crate) struct GuestMemory<'a>(&'a mut [u8]);

/// A range of guest memory which was in bounds when it was decoded (memories never shrink).
#[derive(Clone, Copy, Debug)]
pub(crate) struct GuestRange {
    start: usize,
    length: usize,
}

impl GuestRange {
    pub(crate) fn len(self) -> usize {
        self.length
    }
}

impl<'a> GuestMemory<'a> {
    pub(crate) fn new(bytes: &'a mut [u8]) -> Self {
        Self(bytes)
    }

    /// Checks a pointer and a length.
    pub(crate) fn range(&self, pointer: i32, length: u32) -> Result<GuestRange, Errno> {
        let start = pointer.cast_unsigned() as usize;
        let length = length as usize;
        let end = start.checked_add(length).ok_or(Errno::Fault)?;
        if end > self.0.len() { Err(Errno::Fault) } else { Ok(GuestRange { start, length }) }
    }

    pub(crate) fn bytes(&self, range: GuestRange) -> &[u8] {
        &self.0[range.start..range.start + range.length]
    }

    pub(crate) fn bytes_mut(&mut self, range: GuestRange) -> &mut [u8] {
        &mut self.0[range.start..range.start + range.length]
    }

    pub(crate) fn read(&self, pointer: i32, length: u32) -> Result<&[u8], Errno> {
        Ok(self.bytes(self.range(pointer, length)?))
    }

    pub(crate) fn write(&mut self, pointer: i32, bytes: &[u8]) -> Result<(), Errno> {
        let length = u32::try_from(bytes.len()).map_err(|_| Errno::Fault)?;
        let range = self.range(pointer, length)?;
        self.bytes_mut(range).copy_from_slice(bytes);
        Ok(())
    }

    fn array<const N: usize>(&self, pointer: i32) -> Result<[u8; N], Errno> {
        let bytes = self.read(pointer, u32::try_from(N).map_err(|_| Errno::Fault)?)?;
        bytes.try_into().map_err(|_| Errno::Fault)
    }

    pub(crate) fn u8(&self, pointer: i32) -> Result<u8, Errno> {
        Ok(self.array::<1>(pointer)?[0])
    }

    pub(crate) fn u16(&self, pointer: i32) -> Result<u16, Errno> {
        Ok(u16::from_le_bytes(self.array(pointer)?))
    }

    pub(crate) fn u32(&self, pointer: i32) -> Result<u32, Errno> {
        Ok(u32::from_le_bytes(self.array(pointer)?))
    }

    pub(crate) fn u64(&self, pointer: i32) -> Result<u64, Errno> {
        Ok(u64::from_le_bytes(self.array(pointer)?))
    }

    pub(crate) fn write_u32(&mut self, pointer: i32, value: u32) -> Result<(), Errno> {
        self.write(pointer, &value.to_le_bytes())
    }

    /// Decodes `count` iovecs (`buf u32`, `len u32`) and checks each.
    pub(crate) fn iovecs(&self, pointer: i32, count: i32) -> Result<Vec<GuestRange>, Errno> {
        let count = count.cast_unsigned();
        if count > MAX_IOVECS {
            return Err(Errno::Inval);
        }
        (0..count)
            .map(|i| {
                let entry = offset(pointer, i * 8)?;
                self.range(self.u32(entry)?.cast_signed(), self.u32(offset(entry, 4)?)?)
            })
            .collect()
    }
}

/// `pointer + by`, which must not wrap.
pub(crate) fn offset(pointer: i32, by: u32) -> Result<i32, Errno> {
    pointer.cast_unsigned().checked_add(by).map(u32::cast_signed).ok_or(Errno::Fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn out_of_range_is_a_fault_and_never_a_panic() {
        let mut bytes = vec![0; 64];
        let mut memory = GuestMemory::new(&mut bytes);
        for pointer in [0, 1, 60, 63, 64, 65, -1, i32::MIN, i32::MAX] {
            for length in [0, 1, 4, 64, 65, u32::MAX] {
                let in_range = u64::from(pointer.cast_unsigned()) + u64::from(length) <= 64;
                assert_eq!(memory.read(pointer, length).is_ok(), in_range, "{pointer} {length}");
            }
            let _ = memory.write_u32(pointer, 1);
            let _ = memory.iovecs(pointer, 8);
            let _ = memory.iovecs(pointer, -1);
        }
    }
}
