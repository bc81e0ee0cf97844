# SPDX-License-Identifier: BSD-3-Clause
"""Live handles in a network of their own: waiting, descriptors, filters, counts, vanishing devices. As on stock."""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import select
import socket
import threading
import time
from pathlib import Path

import pytest

from compat_tests import harness
from libffpfpcap import pcap_abi
from libffpfpcap.pcap_abi import (
    ENVIRONMENT,
    ERRBUF_SIZE,
    Handler,
    Pcap,
    command,
    frame,
    ip,
    main,
    numbers,
    on_ffpf,
    open_quiet,
    own_network,
    program,
    savefile,
    send,
)

pytestmark = pytest.mark.live

ignore = Handler(lambda user, header, data: None)

same_on_both = functools.partial(pcap_abi.same_on_both, at_once=True)


@program
def timeouts(lib: ctypes.CDLL) -> None:
    own_network()
    p = Pcap.live(lib, "va", timeout=100)
    send("vb", frame(1), frame(2))
    begin = time.monotonic()
    print("packets after the timeout", lib.pcap_dispatch(p.handle, -1, ignore, None), time.monotonic() - begin < 5)
    threading.Timer(0.3, lambda: send("vb", frame(3))).start()
    while lib.pcap_dispatch(p.handle, -1, ignore, None) == 0:
        pass
    print("waited for one", time.monotonic() - begin > 0.25)
    p.close()


def test_pitfall_14_and_15_dispatch_waits_for_the_timeout() -> None:
    same_on_both(timeouts, served=3)


@program
def idle(lib: ctypes.CDLL) -> None:
    own_network()
    p = Pcap.live(lib, "va", timeout=100)
    print(lib.pcap_dispatch(p.handle, -1, ignore, None), p.next()[0])
    p.close()


def test_pitfall_snort_3_an_idle_link_gives_back_0() -> None:
    """Stock waits for ever here: snort could not be stopped on an idle link."""
    assert on_ffpf(idle) == "0 0\n"


@program
def immediate(lib: ctypes.CDLL) -> None:
    own_network()
    p = Pcap.live(lib, "va", timeout=60000, immediate_mode=1)
    for number in range(3):
        threading.Timer(0.1, lambda number=number: send("vb", frame(number))).start()
        begin = time.monotonic()
        status, data, _ = p.next()
        print(status, data[14:18], time.monotonic() - begin < 10)
    p.close()


def test_pitfall_15_immediate_mode_delivers_at_once() -> None:
    same_on_both(immediate, served=3)


@program
def selectable(lib: ctypes.CDLL) -> None:
    p = open_quiet(lib, "va")
    fd = lib.pcap_get_selectable_fd(p.handle)
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    print("below 1024", 0 <= fd < 1024, "fileno is open", os.fstat(lib.pcap_fileno(p.handle)).st_mode > 0)
    for _ in range(3):
        print("idle", select.select([fd], [], [], 0.2)[0], poll.poll(0))
        send("vb", *(frame(number) for number in range(5)))
        print("waiting", select.select([fd], [], [], 5)[0] == [fd])
        print("polled", [event & select.POLLIN for _, event in poll.poll(5000)])
        print("still", select.select([fd], [], [], 0)[0] == [fd])
        print(numbers(p, 0.2))
    p.close()


def test_pitfall_12_selectable_descriptor() -> None:
    same_on_both(selectable, served=15)


@program
def selectable_part(lib: ctypes.CDLL) -> None:
    p = open_quiet(lib, "va")
    fd = lib.pcap_get_selectable_fd(p.handle)
    send("vb", *(frame(number) for number in range(4)))
    got: list[int] = []
    while len(got) < 4 and select.select([fd], [], [], 5)[0]:
        status, data, _ = p.next()
        if status == 1:
            got.append(data[17])
    print(got)
    p.close()


def test_pitfall_12_select_then_one_packet_at_a_time() -> None:
    """The descriptor stays readable while packets of a batch are still to be had."""
    assert on_ffpf(selectable_part, served=4) == "[0, 1, 2, 3]\n"


@program
def select_then_read(lib: ctypes.CDLL, how: str) -> None:
    own_network()
    p = Pcap.live(lib, "va", timeout=20000, immediate_mode=int(how == "immediate"))
    fd = lib.pcap_get_selectable_fd(p.handle)
    for number in range(3):
        send("vb", frame(number))
        if how != "immediate":
            send("vb", *(frame(number, length=1500) for number in range(400)))  # closes the block
        got = 0
        begin = time.monotonic()
        while select.select([fd], [], [], 0.3)[0]:
            if how == "next":
                got += p.next()[0]
            else:
                got += lib.pcap_dispatch(p.handle, -1, ignore, None)
        print(got > 0, time.monotonic() - begin < 10)
    p.close()


@pytest.mark.parametrize("how", ["next", "dispatch", "immediate"])
def test_pitfall_12_a_blocking_handle_read_after_select_never_waits(how: str) -> None:
    """What was read must not leave the descriptor readable: the program would read again, and wait for the timeout."""
    same_on_both(select_then_read, how)


@program
def toggled(lib: ctypes.CDLL) -> None:
    own_network()
    p = Pcap.live(lib, "va", immediate_mode=1)
    errbuf = ctypes.create_string_buffer(ERRBUF_SIZE)
    got = []
    for number in range(50):
        send("vb", frame(2 * number), frame(2 * number + 1))
        for on in (1, 0):
            assert lib.pcap_setnonblock(p.handle, on, errbuf) == 0
            assert lib.pcap_getnonblock(p.handle, errbuf) == on
            status, data, _ = p.next()
            while status == 0:
                status, data, _ = p.next()
            got.append(data[17])
    print(got)
    p.nonblock()
    print("nothing", p.next()[0], lib.pcap_dispatch(p.handle, 5, ignore, None))
    p.close()


def test_pitfall_snort_4_nonblock_toggled_for_each_packet() -> None:
    same_on_both(toggled, served=100)


@program
def broken(lib: ctypes.CDLL) -> None:
    p = open_quiet(lib, "va")
    send("vb", *(frame(number) for number in range(6)))
    select.select([lib.pcap_get_selectable_fd(p.handle)], [], [], 5)
    seen = []

    def packet(user: int, header: object, data: object) -> None:
        seen.append(data[17])  # type: ignore[index]
        if len(seen) == 2:
            lib.pcap_breakloop(p.handle)

    handler = Handler(packet)
    print(lib.pcap_dispatch(p.handle, -1, handler, None), seen)
    print(lib.pcap_dispatch(p.handle, -1, handler, None), seen)
    print(lib.pcap_dispatch(p.handle, -1, handler, None), seen)
    p.close()


def test_pitfall_13_count_is_kept_when_a_live_dispatch_is_broken() -> None:
    """As the manual promises; stock gives -2 at once, and the count is lost."""
    assert on_ffpf(broken, served=6) == "2 [0, 1]\n-2 [0, 1]\n4 [0, 1, 2, 3, 4, 5]\n"


@program
def refiltered(lib: ctypes.CDLL) -> None:
    p = open_quiet(lib, "va")
    send("vb", *(frame(number) for number in range(600)))
    time.sleep(0.3)
    seen = []
    p.filter("ether[17] & 1 = 1")
    seen.append(p.next()[1][14:18])
    p.filter("ether[16:2] > 500")
    print(seen, numbers(p)[:5])
    send("vb", *(frame(number) for number in range(490, 510)))
    print(numbers(p))
    p.filter("")
    send("vb", frame(3))
    print(numbers(p))
    p.close()


def test_pitfall_16_nothing_that_fails_the_new_filter_comes_out() -> None:
    assert "[501, 502, 503, 504, 505]" in same_on_both(refiltered)


@program
def inbound(lib: ctypes.CDLL) -> None:
    p = open_quiet(lib, "va")
    send("vb", *(frame(number) for number in range(300)))
    send("va", *(frame(1000 + number) for number in range(301)))
    time.sleep(0.3)
    p.filter("outbound")
    got = numbers(p)
    print(len(got), got[:2])
    p.close()


def test_pitfall_16_direction_filters_do_not_lose_the_first_block() -> None:
    """Stock loses what is in the ring already when the filter asks for direction or interface."""
    assert on_ffpf(inbound) == "301 [1000, 1001]\n"


@program
def counted(lib: ctypes.CDLL, filter_text: str) -> None:
    p = open_quiet(lib, "va", promisc=1)
    print(p.statistics())
    if filter_text:
        p.filter(filter_text)
    for _ in range(3):
        send("vb", *(frame(number) for number in range(100)))
        time.sleep(0.2)
        print(p.statistics(), p.statistics())
        print(len(numbers(p)), p.statistics())
    p.close()


@pytest.mark.parametrize("filter_text", ["", "ether[17] < 10", "less 5"])
def test_pitfall_17_statistics_are_cumulative(filter_text: str) -> None:
    same_on_both(counted, filter_text)


@program
def filtered_both_ways(lib: ctypes.CDLL, path: str) -> None:
    p = Pcap.offline(lib, path) if path else open_quiet(lib, "va")
    p.filter("ether[17] < 3")
    if not path:
        send("vb", *(frame(number) for number in range(5)))
    print(len(list(p.packets())))
    p.close()


def test_statistics_line_names_the_kind_of_filter(tmp_path: Path) -> None:
    path = savefile(tmp_path / "a.pcap", [frame(number) for number in range(5)])
    for argument, counted, kind in (
        (path, "seen=5 filtered=2 delivered=3 dropped=0", "jit" if platform.machine() == "x86_64" else "interpreter"),
        ("", "seen=3 filtered=0 delivered=3 dropped=0", "kernel"),
    ):
        outcome = harness.run(command(filtered_both_ways, argument), harness.FFPF, env=ENVIRONMENT)
        assert outcome.stdout == b"3\n"
        (line,) = outcome.stats
        assert f"engine=embedded handles=1 {counted} " in line.text
        assert f" filter={kind} program=python" in line.text


@program
def overrun(lib: ctypes.CDLL) -> None:
    p = open_quiet(lib, "va", buffer_size=1)
    send("vb", *(frame(number, length=1500) for number in range(4000)))
    time.sleep(0.3)
    received, dropped, _ = p.statistics()
    got = len(numbers(p))
    print(received, dropped > 0, received - dropped == got, p.statistics()[1] == dropped)
    p.close()


def test_pitfall_17_dropped_packets_are_counted() -> None:
    assert same_on_both(overrun) == "4000 True True True\n"


@program
def without_rights(lib: ctypes.CDLL) -> None:
    p = open_quiet(lib, "va")
    code = p.compile("ether[17] = 2")
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sender.bind(("vb", 0))
    os.setresuid(65534, 65534, 65534)
    print(lib.pcap_setfilter(p.handle, ctypes.byref(code)), p.error())
    for number in range(4):
        sender.send(frame(number))
    print(numbers(p), p.statistics())
    print(lib.pcap_setdirection(p.handle, 1), lib.pcap_inject(p.handle, frame(9), 60))
    p.close()


def test_pitfall_20_rights_are_dropped_before_the_filter_is_set() -> None:
    same_on_both(without_rights, served=1)


@program
def device_gone(lib: ctypes.CDLL, how: str) -> None:
    own_network()
    p = Pcap.live(lib, "va")
    send("vb", frame(1))
    threading.Timer(0.3, lambda: ip(how)).start()
    status = lib.pcap_loop(p.handle, -1, ignore, None)
    print(status, p.error())
    print(p.statistics()[0])
    p.close()


def test_pitfall_21_interface_deleted() -> None:
    text = same_on_both(device_gone, "link del va", served=1)
    assert text == "-1 The interface disappeared\n1\n"


@program
def device_down(lib: ctypes.CDLL) -> None:
    own_network()
    p = Pcap.live(lib, "va")
    seen = []

    def packet(user: int, header: object, data: object) -> None:
        seen.append(data[17])  # type: ignore[index]
        if len(seen) == 2:
            lib.pcap_breakloop(p.handle)

    def work() -> None:
        send("vb", frame(1))
        time.sleep(0.3)
        ip("link set va down")
        time.sleep(0.3)
        ip("link set va up")
        time.sleep(0.3)
        send("vb", frame(2))

    thread = threading.Thread(target=work)
    thread.start()
    print(lib.pcap_loop(p.handle, -1, Handler(packet), None), seen)
    thread.join()
    p.close()


def test_pitfall_21_interface_down_and_up_again() -> None:
    assert same_on_both(device_down, served=2) == "-2 [1, 2]\n"


@program
def interfaces_in_threads(lib: ctypes.CDLL) -> None:
    own_network()
    handles = [Pcap.live(lib, "va" if number % 2 else "vb") for number in range(8)]
    results: dict[int, int] = {}

    def work(number: int) -> None:
        p = handles[number]
        p.filter(f"ether[17] = {number}")
        p.nonblock()
        ready.wait()
        results[number] = len(numbers(p, 1.5))

    ready = threading.Barrier(9)
    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    ready.wait()
    send("vb", *(frame(number % 8) for number in range(400)))
    for thread in threads:
        thread.join()
    print(sorted(results.items()))
    for p in handles:
        p.close()


def test_pitfall_22_a_thread_for_each_interface() -> None:
    same_on_both(interfaces_in_threads, handles=8, served=400)


@program
def busy_then_broken(lib: ctypes.CDLL) -> None:
    p = open_quiet(lib, "va")
    send("vb", *(frame(number) for number in range(250)))
    time.sleep(0.2)
    print(lib.pcap_dispatch(p.handle, 100, ignore, None), lib.pcap_dispatch(p.handle, 100, ignore, None))
    print(lib.pcap_dispatch(p.handle, -1, ignore, None), lib.pcap_dispatch(p.handle, -1, ignore, None))
    p.close()


def test_pitfall_14_counts_across_a_buffer() -> None:
    assert same_on_both(busy_then_broken, served=250).startswith("100 100\n50 0\n")


if __name__ == "__main__":
    main()
