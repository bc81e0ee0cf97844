# SPDX-License-Identifier: BSD-3-Clause
"""Programs that read what a daemon captures: test_shared.py runs them."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import threading
import time

from libffpfpcap.pcap_abi import Handler, Pcap, frame, main, own_network, program

ignore = Handler(lambda user, header, data: None)


@program
def activates(lib: ctypes.CDLL, device: str, *options: str) -> None:
    settings = dict(option.split("=") for option in options)
    p = Pcap.create(lib, device, **{name: int(value) for name, value in settings.items()})
    status = lib.pcap_activate(p.handle)
    print(status, p.error(), end="")
    p.close()


@program
def selects(lib: ctypes.CDLL) -> None:
    """An event loop: the descriptor is readable while there is something, and only then."""
    p = Pcap.live(lib, "feed0", timeout=100)
    p.nonblock()
    p.filter("udp")
    fd = lib.pcap_get_selectable_fd(p.handle)
    print("idle", select.select([fd], [], [], 0.1)[0], lib.pcap_fileno(p.handle) == fd, flush=True)
    got = 0
    while got < 300:
        assert select.select([fd], [], [], 20)[0] == [fd]
        got += lib.pcap_dispatch(p.handle, 7, ignore, None)
    print(got, select.select([fd], [], [], 0.1)[0], p.next()[0], p.statistics())
    p.close()


@program
def breaks(lib: ctypes.CDLL) -> None:
    p = Pcap.live(lib, "feed0", timeout=0)
    threading.Timer(0.2, lambda: lib.pcap_breakloop(p.handle)).start()
    print(lib.pcap_loop(p.handle, -1, ignore, None))
    signal.signal(signal.SIGALRM, lambda number, stack: lib.pcap_breakloop(p.handle))
    p.close()
    p = Pcap.live(lib, "feed0", timeout=50)
    begin = time.monotonic()
    print(lib.pcap_dispatch(p.handle, -1, ignore, None), p.next()[0], time.monotonic() - begin > 0.09)
    p.close()


@program
def changes(lib: ctypes.CDLL) -> None:
    """Sets a filter from within the callback: the next packet that is handed over obeys it."""
    p = Pcap.live(lib, "feed0", immediate_mode=1)
    seen: list[int] = []

    def take(user: int, header: object, data: object) -> None:
        number = int.from_bytes(ctypes.string_at(data, 20)[18:20], "big")  # type: ignore[arg-type]
        seen.append(number)
        if number == 10:
            p.filter("ip[4:2] % 2 = 1")

    print("ready", flush=True)
    handler = Handler(take)
    while not seen or seen[-1] != 99:
        lib.pcap_dispatch(p.handle, -1, handler, None)
    print(seen == [*range(11), *range(11, 100, 2)])
    print(p.statistics()[1:])
    p.close()


@program
def links(lib: ctypes.CDLL) -> None:
    p = Pcap.create(lib, "any", promisc=1, snaplen=5, tstamp_precision=1, timeout=50)
    print(lib.pcap_activate(p.handle), p.error())
    listed = ctypes.POINTER(ctypes.c_int)()
    count = lib.pcap_list_datalinks(p.handle, ctypes.byref(listed))
    print(lib.pcap_datalink(p.handle), listed[:count], lib.pcap_snapshot(p.handle), lib.pcap_bufsize(p.handle) > 0)
    print(lib.pcap_set_datalink(p.handle, 276), lib.pcap_datalink(p.handle), lib.pcap_set_datalink(p.handle, 1))
    print(p.error())
    print(lib.pcap_inject(p.handle, b"x" * 60, 60), p.error())
    print(lib.pcap_setdirection(p.handle, 2), lib.pcap_get_tstamp_precision(p.handle), lib.pcap_can_set_rfmon(p.handle))
    p.close()


@program
def injects(lib: ctypes.CDLL) -> None:
    """With the rights that the program has at that time."""
    own_network()
    p = Pcap.live(lib, "lo")
    other = Pcap.live(lib, "feed0")
    print(lib.pcap_inject(other.handle, frame(1), 60), other.error())
    print(lib.pcap_inject(p.handle, frame(1), 60), lib.pcap_sendpacket(p.handle, frame(2), 60))
    p.close()
    p = Pcap.live(lib, "lo")
    os.setresuid(65534, 65534, 65534)
    print(lib.pcap_inject(p.handle, frame(1), 60), p.error())


@program
def forks(lib: ctypes.CDLL) -> None:
    """A daemon: the parent opens, and leaves; the child reads. And a child that only closes."""
    p = Pcap.live(lib, "feed0", immediate_mode=1)
    p.filter("udp")
    if os.fork() == 0:
        p.close()
        os._exit(0)
    os.wait()
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
        os._exit(0)
    got = 0
    while got < 3000:
        got += lib.pcap_dispatch(p.handle, -1, ignore, None)
    print(got, p.statistics())
    p.close()


@program
def dumps(lib: ctypes.CDLL, path: str) -> None:
    """pcap_dump out of several PBufs, the last packets by a program that keeps its own copies."""
    p = Pcap.live(lib, "feed0", immediate_mode=1)
    lib.pcap_dump_open.restype = ctypes.c_void_p
    lib.pcap_dump_open.argtypes = (ctypes.c_void_p, ctypes.c_char_p)
    lib.pcap_dump_close.argtypes = (ctypes.c_void_p,)
    out = ctypes.c_void_p(lib.pcap_dump_open(p.handle, path.encode()))
    p.filter("udp")
    left = 3000
    while left:
        left -= lib.pcap_dispatch(p.handle, left, ctypes.cast(lib.pcap_dump, Handler), out)
    lib.pcap_dump_close(out)
    p.close()


if __name__ == "__main__":
    main()
