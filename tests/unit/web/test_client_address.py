"""The client's address: only trusted proxies are believed, and no header breaks anything."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from receiver.web.client_address import MAX_HOPS, ClientAddress
from tests.cost import max_cpu_seconds

TRUSTED = ("127.0.0.1/32", "::1/128", "10.0.0.0/8", "2001:db8:1::/48")


def client(
    *headers: tuple[str, str], peer: Any = ("127.0.0.1", 40_000), trusted: tuple[str, ...] = TRUSTED
) -> str | None:
    lines = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    return ClientAddress([ipaddress.ip_network(text) for text in trusted])({"client": peer, "headers": lines})


def xff(*values: str, **more: Any) -> str | None:
    return client(*(("x-forwarded-for", value) for value in values), **more)


def rfc7239(*values: str, **more: Any) -> str | None:
    return client(*(("forwarded", value) for value in values), **more)


def test_without_a_list_it_is_the_connections_own_address() -> None:
    assert client() == "127.0.0.1"
    assert client(peer=("198.51.100.7", 1)) == "198.51.100.7"
    assert client(peer=("::ffff:198.51.100.7", 1)) == "198.51.100.7"
    assert client(peer=None) is None
    assert client(peer=("testclient", 1)) == "testclient"


def test_nobody_is_believed_who_is_not_trusted() -> None:
    assert xff("203.0.113.9", trusted=()) == "127.0.0.1"
    assert rfc7239("for=203.0.113.9", trusted=()) == "127.0.0.1"
    assert xff("203.0.113.9", peer=("198.51.100.7", 1)) == "198.51.100.7"
    assert xff("203.0.113.9", peer=("testclient", 1)) == "testclient"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("203.0.113.9", "203.0.113.9"),
        (" 203.0.113.9\t", "203.0.113.9"),
        ("203.0.113.9:4711", "203.0.113.9"),
        ("2001:db8::9", "2001:db8::9"),
        ("[2001:db8::9]", "2001:db8::9"),
        ("[2001:db8::9]:4711", "2001:db8::9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("1.2.3.4, 203.0.113.9", "203.0.113.9"),
        ("1.2.3.4, 203.0.113.9, 10.1.1.1", "203.0.113.9"),
        ("1.2.3.4, 203.0.113.9, 10.1.1.1, 2001:db8:1::5", "203.0.113.9"),
        ("10.1.1.2, 10.1.1.1", "10.1.1.2"),
    ],
)
def test_the_last_hop_that_is_no_trusted_proxy_is_the_client(value: str, expected: str) -> None:
    assert xff(value) == expected
    assert xff(*value.split(",")) == expected
    entries = [part.strip() for part in value.split(",")]
    assert rfc7239(", ".join(f'proto=https;For="{entry}";by=10.0.0.1' for entry in entries)) == expected


@pytest.mark.parametrize("value", ["for=203.0.113.9", "FOR=203.0.113.9;proto=http", 'by="[::1]"; for=203.0.113.9'])
def test_forwarded_is_read_as_rfc_7239_writes_it(value: str) -> None:
    assert rfc7239(value) == "203.0.113.9"
    assert rfc7239(f'for="_hidden, for=1.2.3.4, {value}') == "203.0.113.9"


@pytest.mark.parametrize(
    "value",
    ["unknown", "_hidden", "", "203.0.113.9.1", "203.0.113.9 1.2.3.4", "203.0.113.9:x", "[203.0.113.9", "fe80::1%eth0",
     "fe80::1%203.0.113.9", "[fe80::1%1]", "١.1.1.1", "0x7f.1", "1", "[2001:db8::9]x", "\x00", "é"],
)  # fmt: skip
def test_what_is_no_address_is_not_believed(value: str) -> None:
    value = value.encode().decode("latin-1")
    assert xff(value) == "127.0.0.1"
    assert xff(f"203.0.113.9, {value}") == "127.0.0.1"
    assert xff(f"203.0.113.9, {value}, 10.1.1.1") == "10.1.1.1"
    assert rfc7239(f"for={value}") == "127.0.0.1"
    assert rfc7239(f'for="{value}"') == "127.0.0.1"


@pytest.mark.parametrize("value", ["for=1.2.3.4;for=203.0.113.9", "by=203.0.113.9", 'for="1.2.3.4', 'for="\\1.2.3.4"'])
def test_an_entry_without_exactly_one_address_is_not_believed(value: str) -> None:
    assert rfc7239(value) == "127.0.0.1"


def test_a_proxy_that_appends_to_one_list_passes_the_other_as_a_stranger_sent_it() -> None:
    assert client(("forwarded", "for=1.2.3.4"), ("x-forwarded-for", "203.0.113.9")) == "203.0.113.9"


def test_a_list_is_read_from_its_end_and_so_far() -> None:
    assert xff("1.2.3.4," * 20_000 + "203.0.113.9") == "203.0.113.9"
    assert xff("203.0.113.9," + ",".join(["10.1.1.1"] * (MAX_HOPS - 1))) == "203.0.113.9"
    assert xff("203.0.113.9," + ",".join(["10.1.1.1"] * MAX_HOPS)) == "10.1.1.1"
    assert xff("203.0.113.9" * 1000) == "127.0.0.1"
    assert xff("1" * 2045 + "0.9,10.1.1.1") == "10.1.1.1"


def test_long_lists_take_no_time() -> None:
    with max_cpu_seconds(5):
        for piece in (",", ", ", "10.1.1.1,", '"', '"\\', "for=", ";", "[", ":"):
            xff(piece * 60_000)
            rfc7239(piece * 60_000)
            xff(*[piece] * 5000)


_ENTRIES = st.one_of(
    st.text(st.characters(max_codepoint=255), max_size=30),
    st.ip_addresses().map(str),
    st.sampled_from(["for=1.2.3.4", 'for="[::1]:1"', "unknown", "10.0.0.1", "::1", "10.0.0.1:80", ""]),
)


@given(
    name=st.sampled_from(["x-forwarded-for", "forwarded"]),
    values=st.lists(st.lists(_ENTRIES, max_size=5).map(",".join), max_size=4),
    peer=st.one_of(st.none(), st.tuples(st.sampled_from(["127.0.0.1", "::1", "1.2.3.4", "x", ""]), st.just(1))),
)
@example("forwarded", ['for="'], ("127.0.0.1", 1))
def test_whatever_is_sent_an_address_or_the_peer_comes_out(name: str, values: list[str], peer: Any) -> None:
    expected = client(*((name, value) for value in values), peer=peer)
    if peer is None or peer[0] in ("x", ""):
        assert expected == (peer and peer[0])
    else:
        assert expected is not None
        assert str(ipaddress.ip_address(expected)) == expected


@given(values=st.lists(_ENTRIES, max_size=5))
def test_what_stands_before_the_proxys_own_entry_changes_nothing(values: list[str]) -> None:
    assert xff(*values, "203.0.113.9") == "203.0.113.9"
    assert rfc7239(*values, "for=203.0.113.9") == "203.0.113.9"
