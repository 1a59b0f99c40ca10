"""The address guard: what is public, and that nothing else gets through."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.errors import BlockedAddress, OutboundError
from receiver.outbound.guard import AddressGuard, Resolve, is_public

PRIVATE = [
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "203.0.113.9",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "2001::1",
    "2001:db8::1",
    "3fff::1",
    "100::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "2606:4700::1%eth0",
    "fec0::1",
    "ff02::1",
    "",
    "localhost",
    "127.1",
    "0x7f000001",
    "2130706433",
    "1.1.1.1/32",
]
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "93.184.216.34",
    "2606:4700::1111",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
    "2002:808:808::1",
]


@pytest.mark.parametrize("ip", PRIVATE)
def test_an_address_that_is_not_the_open_internet_s_is_not_public(ip: str) -> None:
    assert not is_public(ip)


@pytest.mark.parametrize("ip", PUBLIC)
def test_an_ordinary_address_is_public(ip: str) -> None:
    assert is_public(ip)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_in_ipv6_dress_is_as_public_as_it_is_bare(address: ipaddress.IPv4Address) -> None:
    bare = is_public(str(address))
    assert is_public(f"::ffff:{address}") == bare
    assert is_public(f"64:ff9b::{address}") == bare
    assert is_public(str(ipaddress.IPv6Address((0x2002 << 112) | (int(address) << 80)))) == bare


@given(st.ip_addresses(v=4))
def test_nothing_that_python_calls_not_global_is_public(address: ipaddress.IPv4Address) -> None:
    if is_public(str(address)):
        assert address.is_global
        assert not address.is_multicast


@given(st.text())
def test_any_text_is_answered_and_not_raised_at(text: str) -> None:
    assert is_public(text) in (True, False)


def resolver(*addresses: str) -> Resolve:
    async def resolve(host: str, port: int) -> list[str]:
        return list(addresses)

    return resolve


@pytest.mark.anyio
async def test_one_private_answer_condemns_the_name() -> None:
    guard = AddressGuard(False, resolver("93.184.216.34", "10.0.0.1"))
    with pytest.raises(BlockedAddress, match=r"10\.0\.0\.1"):
        await guard.resolve("two-faced.example", 443)


@pytest.mark.anyio
async def test_public_answers_come_back_in_order() -> None:
    guard = AddressGuard(False, resolver("93.184.216.34", "2606:4700::1111"))
    assert await guard.resolve("good.example", 443) == ["93.184.216.34", "2606:4700::1111"]


@pytest.mark.anyio
@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "::ffff:127.0.0.1", "192.168.3.4", "10.0.0.1"])
async def test_a_literal_is_checked_without_a_look_up(host: str) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        raise AssertionError("looked up")

    with pytest.raises(BlockedAddress):
        await AddressGuard(False, resolve).resolve(host, 443)
    assert await AddressGuard(True, resolve).resolve(host, 443) == [host.strip("[]")]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("host", "begins"),
    [
        ("10.0.0.1", "10.0.0.1 is not public; "),
        ("169.254.169.254", "169.254.169.254 is never allowed: "),
        ("two-faced.example", "two-faced.example has the address 10.0.0.1, which is not public; "),
    ],
)
async def test_a_refusal_names_an_address_once(host: str, begins: str) -> None:
    with pytest.raises(BlockedAddress) as caught:
        await AddressGuard(False, resolver("10.0.0.1")).resolve(host, 443)
    assert str(caught.value).startswith(begins)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "100.100.100.200",
        "168.63.129.16",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%eth0",
        "224.0.0.1",
        "0.0.0.0",
        "::",
    ],
)
async def test_no_setting_opens_the_way_to_metadata(host: str) -> None:
    with pytest.raises(BlockedAddress):
        await AddressGuard(True).resolve(host, 80)


@pytest.mark.anyio
@pytest.mark.parametrize("host", ["localhost", "127.1", "0x7f.1", "2130706433"])
async def test_other_spellings_of_this_machine_are_blocked_by_what_they_resolve_to(host: str) -> None:
    with pytest.raises(BlockedAddress):
        await AddressGuard(False).resolve(host, 443)


@pytest.mark.anyio
@pytest.mark.parametrize("host", ["a" * 64 + ".example", "a..example"])
async def test_a_name_that_cannot_be_one_is_an_error_of_ours(host: str) -> None:
    with pytest.raises(OutboundError) as caught:
        await AddressGuard(False).resolve(host, 443)
    assert caught.value.reason == "dns_failed"


@pytest.mark.anyio
async def test_a_name_without_an_answer_is_worth_another_try() -> None:
    async def resolve(host: str, port: int) -> list[str]:
        raise OSError("Temporary failure in name resolution")

    for made in (resolve, resolver()):
        with pytest.raises(OutboundError) as caught:
            await AddressGuard(False, made).resolve("gone.example", 443)
        assert caught.value.reason == "dns_failed"
        assert not isinstance(caught.value, BlockedAddress)


@pytest.mark.parametrize(
    ("url", "private", "passes"),
    [
        ("https://a.example/", False, True),
        ("HTTPS://a.example/", False, True),
        ("http://a.example/", False, False),
        ("http://a.example/", True, True),
        ("ftp://a.example/", True, False),
        ("file:///etc/passwd", True, False),
        ("//a.example/", True, False),
    ],
)
def test_only_https_passes_and_http_where_it_is_allowed(url: str, private: bool, passes: bool) -> None:
    guard = AddressGuard(private)
    if passes:
        guard.check_scheme(url)
    else:
        with pytest.raises(BlockedAddress):
            guard.check_scheme(url)
