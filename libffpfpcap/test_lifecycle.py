# SPDX-License-Identifier: BSD-3-Clause
"""Handles before, at and after activation; dead handles; texts. Same answers as stock."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import pytest

from compat_tests import harness
from libffpfpcap.pcap_abi import (
    ENVIRONMENT,
    ERRBUF_SIZE,
    BpfInsn,
    BpfProgram,
    Handler,
    Pcap,
    PcapStat,
    command,
    frame,
    ip,
    main,
    on_ffpf,
    own_network,
    program,
    same_on_both,
    savefile,
    send,
)

pytestmark = pytest.mark.live

ignore = Handler(lambda user, header, data: None)
SETTERS = ("snaplen", "promisc", "rfmon", "timeout", "buffer_size", "immediate_mode", "protocol_linux", "tstamp_type",
           "tstamp_precision")  # fmt: skip
GETTERS = ("get_selectable_fd", "fileno", "is_swapped", "major_version", "minor_version", "snapshot", "bufsize",
           "datalink", "datalink_ext", "get_tstamp_precision", "can_set_rfmon")  # fmt: skip


def ask_everything(p: Pcap, *, descriptors: bool = True) -> None:
    """Prints every answer and text that a handle gives without reading a packet it has."""
    lib, handle = p.lib, p.handle
    for name in GETTERS:
        value = getattr(lib, f"pcap_{name}")(handle)
        if not descriptors and name in ("fileno", "get_selectable_fd"):
            value = value >= 0
        print(name, value, p.error())
    for name in SETTERS:
        for value in (-1, 0, 1, 7):
            print("set", name, value, getattr(lib, f"pcap_set_{name}")(handle, value), p.error())
    errbuf = ctypes.create_string_buffer(ERRBUF_SIZE)
    print("getnonblock", lib.pcap_getnonblock(handle, errbuf), errbuf.value, p.error())
    print("setnonblock", lib.pcap_setnonblock(handle, 1, errbuf), errbuf.value, p.error())
    print("getnonblock", lib.pcap_getnonblock(handle, errbuf), errbuf.value, p.error())
    print("setnonblock", lib.pcap_setnonblock(handle, 0, errbuf), errbuf.value, p.error())
    for direction in (0, 1, 2, 0):
        print("direction", direction, lib.pcap_setdirection(handle, direction), p.error())
    print("direction", 9, lib.pcap_setdirection(handle, 9), p.error())
    for dlt in (1, 0, -1, 113, 276, 99999):
        print("set_datalink", dlt, lib.pcap_set_datalink(handle, dlt), p.error())
    for kind in ("datalinks", "tstamp_types"):
        numbers = ctypes.POINTER(ctypes.c_int)()
        count = getattr(lib, f"pcap_list_{kind}")(handle, ctypes.byref(numbers))
        print(kind, count, [numbers[i] for i in range(max(count, 0))], p.error())
        if count > 0:
            getattr(lib, f"pcap_free_{kind}")(numbers)
    print("required timeout", bool(lib.pcap_get_required_select_timeout(handle)))
    for octets in (b"", b"x"):
        ctypes.set_errno(0)
        os.strerror(0)
        print("sendpacket", lib.pcap_sendpacket(handle, octets, len(octets)), p.error().split(":")[0])
        print("inject", lib.pcap_inject(handle, octets, len(octets)), p.error().split(":")[0])
    print("inject", lib.pcap_inject(handle, b"x", 1 << 31), p.error().split(":")[0])
    stat = PcapStat()
    print("stats", lib.pcap_stats(handle, ctypes.byref(stat)), stat.recv, stat.drop, stat.ifdrop, p.error())
    for text in (BpfProgram(), BpfProgram(1, (BpfInsn * 1)(BpfInsn(0x06, 0, 0, 65535)))):
        print("setfilter", text.bf_len, lib.pcap_setfilter(handle, ctypes.byref(text)), p.error())
    print("has file", bool(lib.pcap_file(handle)))


def ask_to_read(p: Pcap) -> None:
    """Prints what the four reading calls say where there is nothing to read."""
    lib, handle = p.lib, p.handle
    print("dispatch", lib.pcap_dispatch(handle, 1, ignore, None), p.error())
    print("loop", lib.pcap_loop(handle, 1, ignore, None), p.error())
    print("next_ex", p.next()[0], p.error())
    print("activate", lib.pcap_activate(handle), p.error())


@program
def inactive(lib: ctypes.CDLL, device: str) -> None:
    p = Pcap.create(lib, device)
    ask_everything(p)
    p = Pcap.create(lib, device)
    print("dispatch", lib.pcap_dispatch(p.handle, 1, ignore, None), p.error())
    print("loop", lib.pcap_loop(p.handle, 1, ignore, None), p.error())
    print("next_ex", p.next()[0], p.error())
    lib.pcap_breakloop(p.handle)
    p.close()


@pytest.mark.parametrize("device", ["lo", "any", "no-such-device"])
def test_inactive_handle_answers(device: str) -> None:
    same_on_both(inactive, device, handles=0)


@program
def dead(lib: ctypes.CDLL) -> None:
    p = Pcap(lib, lib.pcap_open_dead(113, 77))
    ask_everything(p)
    ask_to_read(p)
    lib.pcap_breakloop(p.handle)
    print("next_ex", p.next()[0], p.error())
    p.close()
    for precision in (0, 1, 2):
        p = Pcap(lib, lib.pcap_open_dead_with_tstamp_precision(1, 0, precision))
        print(precision, lib.pcap_get_tstamp_precision(p.handle))
        p.close()


def test_dead_handle_answers() -> None:
    same_on_both(dead, handles=0)


@program
def offline(lib: ctypes.CDLL, path: str) -> None:
    p = Pcap.offline(lib, path)
    ask_everything(p, descriptors=False)
    print("activate", lib.pcap_activate(p.handle), p.error())
    p.close()


@pytest.mark.parametrize("snaplen", [1, 2047, 2048, 65535, 262144])
def test_savefile_handle_answers(tmp_path: Path, snaplen: int) -> None:
    same_on_both(offline, savefile(tmp_path / "a.pcap", [frame(1)], snaplen=snaplen))


@program
def active(lib: ctypes.CDLL, device: str, immediate: str) -> None:
    own_network()
    p = Pcap.live(lib, device, immediate_mode=int(immediate))
    ask_everything(p, descriptors=False)
    print("activate", lib.pcap_activate(p.handle), p.error())
    print("selectable is the socket", lib.pcap_fileno(p.handle) >= 0)
    p.close()


@pytest.mark.parametrize("device", ["va", "lo", "any"])
def test_pitfall_26_live_handle_answers(device: str) -> None:
    same_on_both(active, device, 0)


@program
def activations(lib: ctypes.CDLL) -> None:
    own_network()
    for device in ("va", "any", "lo", "no-such", "a-name-that-is-too-long-for-an-interface", "", "va:1", "99"):
        for options in (
            {}, {"promisc": 1}, {"snaplen": -5}, {"snaplen": 1 << 30}, {"timeout": -1}, {"buffer_size": 1},
            {"tstamp_precision": 1}, {"immediate_mode": 1}, {"protocol_linux": 0x800}, {"promisc": 1, "snaplen": 7},
        ):  # fmt: skip
            p = Pcap.create(lib, device, **options)
            status = lib.pcap_activate(p.handle)
            print(device, options, status, p.error(), lib.pcap_snapshot(p.handle), lib.pcap_datalink(p.handle))
            if status >= 0:  # stock crashes where the first one failed
                print(lib.pcap_activate(p.handle), p.error())
                print(lib.pcap_getnonblock(p.handle, None))
            p.close()


def test_pitfall_10_activation_statuses_and_texts() -> None:
    text = same_on_both(activations)
    assert "\nno-such {} -5 No such device exists" in text


@program
def open_live(lib: ctypes.CDLL) -> None:
    own_network()
    for device in (b"va", b"any", b"no-such", b"a-name-that-is-too-long-for-an-interface", b"rpcap://va", b"", None):
        for snaplen, promisc, timeout in ((65535, 0, 10), (0, 1, 0), (-1, 1, -1)):
            errbuf = ctypes.create_string_buffer(ERRBUF_SIZE)
            handle = lib.pcap_open_live(device, snaplen, promisc, timeout, errbuf)
            print(device, snaplen, promisc, timeout, bool(handle), errbuf.value)
            if handle:
                print(lib.pcap_snapshot(handle), lib.pcap_datalink(handle))
                lib.pcap_close(handle)


@program
def activated_again(lib: ctypes.CDLL) -> None:
    own_network()
    p = Pcap.create(lib, "later")
    print(lib.pcap_activate(p.handle), lib.pcap_activate(p.handle), p.error())
    ip("link set va down", "link set va name later", "link set later up")
    print(lib.pcap_activate(p.handle))
    p.close()


def test_a_failed_activation_may_be_tried_again() -> None:
    assert on_ffpf(activated_again) == "-5 -5 No such device exists\n0\n"


def test_open_live_texts() -> None:
    same_on_both(open_live)


def test_pitfall_10_tcpdump_tries_the_name_as_an_index() -> None:
    stock, ffpf = harness.run_both(["tcpdump", "-c1", "-i", "no-such-device"])
    harness.assert_same(stock, ffpf, harness.Expect(handles=0))
    assert b"No such device exists" in stock.stderr


@program
def set_before_activation(lib: ctypes.CDLL) -> None:
    own_network()
    errbuf = ctypes.create_string_buffer(ERRBUF_SIZE)
    p = Pcap.create(lib, "va", timeout=50)
    print(lib.pcap_setnonblock(p.handle, 1, errbuf), lib.pcap_getnonblock(p.handle, errbuf), errbuf.value)
    print(lib.pcap_activate(p.handle), lib.pcap_getnonblock(p.handle, errbuf))
    print(p.next()[0], lib.pcap_dispatch(p.handle, -1, ignore, None))
    print(lib.pcap_activate(p.handle), p.error())
    send("vb", frame(1))
    print([data[14:18] for data in p.packets()])
    p.close()


def test_pitfall_11_nonblock_before_activation() -> None:
    same_on_both(set_before_activation, served=1)


@program
def unprivileged(lib: ctypes.CDLL, promisc: str) -> None:
    own_network()
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
    for device in ("va", "any", "no-such"):
        p = Pcap.create(lib, device, promisc=int(promisc))
        status = lib.pcap_activate(p.handle)
        print(device, status, p.error())
        p.close()
        errbuf = ctypes.create_string_buffer(ERRBUF_SIZE)
        print(bool(lib.pcap_open_live(device.encode(), 100, int(promisc), 1, errbuf)), errbuf.value)


@pytest.mark.parametrize("promisc", [0, 1])
def test_no_permission(promisc: int) -> None:
    assert " -8 " in same_on_both(unprivileged, promisc, handles=0)


@program
def captured(lib: ctypes.CDLL) -> None:
    own_network()
    p = Pcap.create(lib, "va", timeout=50)
    print(lib.pcap_activate(p.handle), p.error())
    if lib.pcap_datalink(p.handle) >= 0:
        p.nonblock()
        send("vb", frame(1), frame(2))
        print([data[14:18] for data in p.packets()], p.statistics())
    p.close()


@pytest.mark.parametrize(
    ("engine", "served_by", "text"),
    [
        ("", "embedded", None),
        ("auto", "embedded", None),
        ("embedded", "embedded", None),
        ("system", "system", None),
        ("shared", "none", "-1 FFPF_ENGINE=shared: /no/daemon: No such file or directory\n"),
        ("no such", "none", "-1 FFPF_ENGINE=no such: no such engine; there are auto, shared, embedded and system\n"),
    ],
)
def test_engine_is_chosen_by_the_environment(engine: str, served_by: str, text: str | None) -> None:
    stock = harness.run(command(captured), harness.STOCK, env=ENVIRONMENT)
    env = {**ENVIRONMENT, "FFPF_ENGINE": engine, "FFPF_SOCKET": "/no/daemon"}
    ffpf = harness.run(command(captured), harness.FFPF, env=env)
    assert ffpf.stdout.decode() == (stock.stdout.decode() if text is None else text)
    assert [line.engine for line in ffpf.stats] == [served_by]
    assert ffpf.total("delivered") == (2 if text is None else 0)


@program
def texts(lib: ctypes.CDLL) -> None:
    for status in range(-20, 10):
        print(status, lib.pcap_statustostr(status).decode())
    for number in (0, 1, 2, 13, 133, 134, 9999, -1):
        print(number, lib.pcap_strerror(number).decode())
    for number in range(-2, 8):
        name, description = lib.pcap_tstamp_type_val_to_name(number), lib.pcap_tstamp_type_val_to_description(number)
        print(number, name, description, name and lib.pcap_tstamp_type_name_to_val(name.upper()))
    print(lib.pcap_tstamp_type_name_to_val(b"no such"))
    p = Pcap(lib, lib.pcap_open_dead(1, 1))
    p.next()
    lib.pcap_perror(p.handle, b"prefix")
    first = lib.pcap_geterr(p.handle)
    lib.pcap_setdirection(p.handle, 9)
    print("pcap_geterr is one buffer of the handle:", first == lib.pcap_geterr(p.handle), p.error())


def test_pitfall_9_texts() -> None:
    assert "one buffer of the handle: True" in same_on_both(texts, handles=0)


@program
def initialisation(lib: ctypes.CDLL, first: str, second: str) -> None:
    lib.pcap_lookupdev.restype = ctypes.c_char_p
    for options in (int(first), int(second), 5):
        errbuf = ctypes.create_string_buffer(ERRBUF_SIZE)
        print(options, lib.pcap_init(options, errbuf), errbuf.value)


@pytest.mark.parametrize(("first", "second"), [(0, 0), (0, 1), (1, 0), (1, 1), (7, 0)])
def test_init(first: int, second: int) -> None:
    same_on_both(initialisation, first, second, handles=0)


@program
def many_handles(lib: ctypes.CDLL, path: str) -> None:
    import threading

    counts = [0, 0]

    def work(me: int) -> None:
        for _ in range(1000):
            p = Pcap.offline(lib, path)
            p.filter("ether[14:4] >= 2")
            counts[me] += len(list(p.packets()))
            p.close()

    threads = [threading.Thread(target=work, args=(me,)) for me in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(counts)


def test_pitfall_22_two_threads_open_2000_handles(tmp_path: Path) -> None:
    path = savefile(tmp_path / "a.pcap", [frame(number) for number in range(4)])
    assert same_on_both(many_handles, path, handles=2000, served=4000) == "[2000, 2000]\n"


if __name__ == "__main__":
    main()
