# SPDX-License-Identifier: BSD-3-Clause
"""The filters that every benchmark of filters uses, from nothing to a hundred hosts."""

HUNDRED_HOSTS = " or ".join(f"host 10.1.{i // 10}.{i % 10 + 100}" for i in range(100))

FILTERS: dict[str, str] = {
    "none": "",
    "ip": "ip",
    "tcp port 80": "tcp port 80",
    "syn, not 10/8": "tcp[tcpflags] & tcp-syn != 0 and not src net 10.0.0.0/8",
    "two hosts": "host 10.1.0.100 or host 10.1.3.107",
    "100 hosts": HUNDRED_HOSTS,
}
