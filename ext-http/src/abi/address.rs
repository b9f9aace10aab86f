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

/// The two generations of the extension, told apart by the type of each import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    V1,
    V2,
}

fn buffer(memory: &GuestMemory<'_>, descriptor: i32) -> Result<GuestRange, Errno> {
    let pointer = memory.u32(descriptor)?.cast_signed();
    memory.range(pointer, memory.u32(offset(descriptor, 4)?)?)
}

/// Decodes the address of `sock_bind` and `sock_connect`. Only the low 16 bits of the port count.
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

/// Encodes the result of V1 `sock_getlocaladdr` and `sock_getpeeraddr`.
pub(crate) fn write_v1(
    memory: &mut GuestMemory<'_>,
    descriptor: i32,
    kind_out: i32,
    port_out: i32,
    address: SocketAddr,
) -> Result<(), Errno> {
    let target = buffer(memory, descriptor)?;
    let kind = match (address.ip(), target.len()) {
        // A 16-byte buffer also takes an IPv4 address, in its first four bytes.
        (IpAddr::V4(ip), 4 | 16) => {
            memory.bytes_mut(target)[..4].copy_from_slice(&ip.octets());
            V1_TYPE_INET4
        }
        (IpAddr::V6(ip), 16) => {
            memory.bytes_mut(target).copy_from_slice(&ip.octets());
            V1_TYPE_INET6
        }
        (IpAddr::V6(_), 4) => return Err(Errno::NoMem),
        // Go guests pass the V2 buffer here too.
        (_, 128) => return write_v2(memory, descriptor, port_out, address),
        _ => return Err(Errno::Inval),
    };
    memory.write_u32(kind_out, kind)?;
    memory.write_u32(port_out, u32::from(address.port()))
}

/// Encodes the result of V2 `sock_getlocaladdr` and `sock_getpeeraddr`.
pub(crate) fn write_v2(
    memory: &mut GuestMemory<'_>,
    descriptor: i32,
    port_out: i32,
    address: SocketAddr,
) -> Result<(), Errno> {
    let target = buffer(memory, descriptor)?;
    if target.len() != 128 {
        return Err(Errno::Inval);
    }
    let bytes = memory.bytes_mut(target);
    match address.ip() {
        IpAddr::V4(ip) => {
            bytes[..2].copy_from_slice(&u16::from(FAMILY_INET4).to_le_bytes());
            bytes[2..6].copy_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            bytes[..2].copy_from_slice(&u16::from(FAMILY_INET6).to_le_bytes());
            bytes[2..18].copy_from_slice(&ip.octets());
        }
    }
    memory.write_u32(port_out, u32::from(address.port()))
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
    fn v1_results_carry_the_digit_of_the_ip_version() {
        let mut bytes = memory_with_buffer(16);
        let mut memory = GuestMemory::new(&mut bytes);
        write_v1(&mut memory, 0, 16, 20, "1.2.3.4:5".parse().expect("valid")).expect("fits");
        assert_eq!((memory.u32(16), memory.u32(20)), (Ok(4), Ok(5)));
        assert_eq!(&bytes[64..68], [1, 2, 3, 4]);

        let mut bytes = memory_with_buffer(4);
        let mut memory = GuestMemory::new(&mut bytes);
        let address = "[::1]:5".parse().expect("valid");
        assert_eq!(write_v1(&mut memory, 0, 16, 20, address), Err(Errno::NoMem));
    }
}
