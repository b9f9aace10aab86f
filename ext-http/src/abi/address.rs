//! Socket addresses in the guest's layouts.
//!
//! Every address argument points to a descriptor `{ buf u32 @0, buf_len u32 @4 }`. The length of the buffer decides
//! its content: 4 bytes are an IPv4 address and 16 an IPv6 address, both in network order, with the port apart; 128
//! bytes hold the family (u16 at 0) and the address from offset 2.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{
    errno::Errno,
    memory::{GuestMemory, GuestRange, offset},
};

/// `family` values since WasmEdge 0.10.
pub(crate) const FAMILY_INET4: u8 = 1;
pub(crate) const FAMILY_INET6: u8 = 2;

/// What V1 `sock_getlocaladdr` and `sock_getpeeraddr` store as type: the digit, not the family enum.
const V1_TYPE_INET4: u32 = 4;
const V1_TYPE_INET6: u32 = 6;

fn buffer(memory: &GuestMemory<'_>, descriptor: i32) -> Result<GuestRange, Errno> {
    let pointer = memory.u32(descriptor)?.cast_signed();
    memory.range(pointer, memory.u32(offset(descriptor, 4)?)?)
}

/// Decodes the address of `sock_bind`, `sock_connect` and `sock_send_to`. Only the low 16 bits of the port count.
pub(crate) fn read(memory: &GuestMemory<'_>, descriptor: i32, port: i32) -> Result<SocketAddr, Errno> {
    let bytes = memory.bytes(buffer(memory, descriptor)?);
    #[expect(clippy::cast_possible_truncation, reason = "WasmEdge takes the low 16 bits")]
    let port = port.cast_unsigned() as u16;
    let ip = match bytes.len() {
        4 => ipv4(bytes)?.into(),
        16 => ipv6(bytes)?.into(),
        128 => match bytes[0] {
            FAMILY_INET4 => ipv4(&bytes[2..6])?.into(),
            FAMILY_INET6 => IpAddr::from(ipv6(&bytes[2..18])?),
            _ => return Err(Errno::AfNoSupport),
        },
        _ => return Err(Errno::Inval),
    };
    Ok(SocketAddr::new(ip, port))
}

/// The buffer that an address is to be stored in; its length, 4, 16 or 128, chooses the layout.
pub(crate) fn target(memory: &GuestMemory<'_>, descriptor: i32) -> Result<GuestRange, Errno> {
    let target = buffer(memory, descriptor)?;
    if [4, 16, 128].contains(&target.len()) { Ok(target) } else { Err(Errno::Inval) }
}

/// Encodes an address, and tells what V1 calls its type.
pub(crate) fn write(memory: &mut GuestMemory<'_>, target: GuestRange, ip: IpAddr) -> Result<u32, Errno> {
    let bytes = memory.bytes_mut(target);
    match (ip, bytes.len()) {
        // A 16-byte buffer also takes an IPv4 address, in its first four bytes.
        (IpAddr::V4(ip), 4 | 16) => bytes[..4].copy_from_slice(&ip.octets()),
        (IpAddr::V4(ip), 128) => {
            bytes[..2].copy_from_slice(&u16::from(FAMILY_INET4).to_le_bytes());
            bytes[2..6].copy_from_slice(&ip.octets());
        }
        (IpAddr::V6(_), 4) => return Err(Errno::NoMem),
        (IpAddr::V6(ip), 16) => bytes.copy_from_slice(&ip.octets()),
        (IpAddr::V6(ip), 128) => {
            bytes[..2].copy_from_slice(&u16::from(FAMILY_INET6).to_le_bytes());
            bytes[2..18].copy_from_slice(&ip.octets());
        }
        _ => return Err(Errno::Inval),
    }
    Ok(if ip.is_ipv4() { V1_TYPE_INET4 } else { V1_TYPE_INET6 })
}

fn ipv4(bytes: &[u8]) -> Result<Ipv4Addr, Errno> {
    <[u8; 4]>::try_from(bytes).map(Ipv4Addr::from).map_err(|_| Errno::Inval)
}

fn ipv6(bytes: &[u8]) -> Result<Ipv6Addr, Errno> {
    <[u8; 16]>::try_from(bytes).map(Ipv6Addr::from).map_err(|_| Errno::Inval)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A memory with a descriptor at 0 for a buffer of `length` bytes at 64.
    fn memory_with_buffer(length: u32) -> Vec<u8> {
        let mut bytes = vec![0; 256];
        bytes[0..4].copy_from_slice(&64u32.to_le_bytes());
        bytes[4..8].copy_from_slice(&length.to_le_bytes());
        bytes
    }

    #[test]
    fn reads_each_layout_by_its_length() {
        let mut bytes = memory_with_buffer(4);
        bytes[64..68].copy_from_slice(&[127, 0, 0, 1]);
        let address = read(&GuestMemory::new(&mut bytes), 0, 8080).expect("valid");
        assert_eq!(address, "127.0.0.1:8080".parse().expect("valid"));

        let mut bytes = memory_with_buffer(16);
        bytes[79] = 1;
        let address = read(&GuestMemory::new(&mut bytes), 0, 1).expect("valid");
        assert_eq!(address, "[::1]:1".parse().expect("valid"));

        let mut bytes = memory_with_buffer(128);
        bytes[64] = FAMILY_INET4;
        bytes[66..70].copy_from_slice(&[10, 0, 0, 1]);
        let address = read(&GuestMemory::new(&mut bytes), 0, 7).expect("valid");
        assert_eq!(address, "10.0.0.1:7".parse().expect("valid"));

        let mut bytes = memory_with_buffer(5);
        assert_eq!(read(&GuestMemory::new(&mut bytes), 0, 7), Err(Errno::Inval));
    }

    #[test]
    fn writes_each_layout_by_its_length() {
        let (ipv4, ipv6) = ("1.2.3.4".parse().expect("valid"), "::9".parse().expect("valid"));
        for (length, at) in [(4, 64), (16, 64), (128, 66)] {
            let mut bytes = memory_with_buffer(length);
            let mut memory = GuestMemory::new(&mut bytes);
            let range = target(&memory, 0).expect("fits");
            assert_eq!(write(&mut memory, range, ipv4), Ok(4), "the digit of the IP version");
            assert_eq!(memory.read(at, 4), Ok([1, 2, 3, 4].as_slice()));
        }
        let mut bytes = memory_with_buffer(128);
        let mut memory = GuestMemory::new(&mut bytes);
        let range = target(&memory, 0).expect("fits");
        assert_eq!(write(&mut memory, range, ipv6), Ok(6));
        assert_eq!((memory.u16(64), memory.u8(81)), (Ok(2), Ok(9)));

        let mut bytes = memory_with_buffer(4);
        let mut memory = GuestMemory::new(&mut bytes);
        let range = target(&memory, 0).expect("fits");
        assert_eq!(write(&mut memory, range, ipv6), Err(Errno::NoMem));
        let mut bytes = memory_with_buffer(5);
        assert_eq!(target(&GuestMemory::new(&mut bytes), 0).expect_err("no layout"), Errno::Inval);
    }
}
