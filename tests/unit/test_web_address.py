"""Listening addresses: forms, errors, and what a bound socket answers to."""

import socket
from pathlib import Path

import pytest

from z4j_exporter.errors import ListenError
from z4j_exporter.web.address import Address, bind, parse_address, unlink_socket


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (":9808", Address("", 9808)),
        ("127.0.0.1:0", Address("127.0.0.1", 0)),
        ("[::1]:9808", Address("::1", 9808)),
        ("localhost:9808", Address("localhost", 9808)),
        (" 0.0.0.0:1 ", Address("0.0.0.0", 1)),
        ("unix:/run/x.sock", Address(unix_path="/run/x.sock")),
    ],
)
def test_forms(text: str, expected: Address) -> None:
    assert parse_address(text) == expected
    assert parse_address(str(expected)) == expected


@pytest.mark.parametrize(
    "text",
    ["", "9808", "localhost", ":", ":x", ":65536", ":-1", ":٣", "::1:9808", "unix:", "a:b:1"],
)
def test_what_is_no_address_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(ListenError) as caught:
        parse_address(text)
    assert repr(text) in caught.value.message
    assert ":9808" in caught.value.hint


def test_every_interface_means_ipv4_too() -> None:
    [sock] = bind(Address("", 0))
    with sock, socket.create_connection(("127.0.0.1", sock.getsockname()[1]), timeout=5):
        pass


def test_an_address_in_use_is_said_in_one_sentence() -> None:
    [sock] = bind(Address("127.0.0.1", 0))
    with sock:
        port = sock.getsockname()[1]
        with pytest.raises(ListenError, match=f"127.0.0.1:{port}: the address is in use"):
            bind(Address("127.0.0.1", port))


@pytest.mark.parametrize(
    ("address", "words"),
    [
        (Address("192.0.2.1", 0), "does not have that address"),
        (Address("no-such-host.invalid", 0), "cannot be found"),
        (Address("a" * 300, 0), "cannot be found"),
        (Address(unix_path="/no/such/directory/x.sock"), "No such file"),
        (Address(unix_path="/" + "x" * 200), "path too long"),
    ],
)
def test_what_cannot_be_bound(address: Address, words: str) -> None:
    with pytest.raises(ListenError, match=words):
        bind(address)


def test_a_socket_left_behind_is_replaced_and_a_live_one_is_not(tmp_path: Path) -> None:
    address = Address(unix_path=str(tmp_path / "x.sock"))
    bind(address)[0].close()
    [sock] = bind(address)
    with sock, pytest.raises(ListenError, match="in use"):
        bind(address)
    unlink_socket(address)
    assert not (tmp_path / "x.sock").exists()


def test_a_file_in_the_place_of_a_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(ListenError, match="no socket"):
        bind(Address(unix_path=str(path)))
    assert path.read_text() == "data"
