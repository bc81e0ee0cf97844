# SPDX-License-Identifier: BSD-3-Clause
"""Filter texts: every primitive and every example of libpcap's manual page pcap-filter(7), 1.10.3, and long mixed ones.

Names of hosts and networks, which a machine may not resolve, are written as addresses.
"""

from __future__ import annotations

import random
from collections.abc import Callable


def each(form: str, words: str) -> list[str]:
    """The form once for each word, in the place of {}."""
    return [form.format(word) for word in words.split()]


HOSTS = ["host 10.0.0.1", "host 192.0.2.1", "host 2001:db8::1", "ip host 10.0.0.1", "arp host 10.0.0.1",
         "rarp host 10.0.0.1", "ip6 host 2001:db8::2"]  # fmt: skip
QUALIFIED = [
    *(f"{way} {what}" for way in ("src", "dst", "src or dst", "src and dst")
      for what in ("host 10.0.0.1", "net 10.0.0.0/8", "net 192.0.2.0 mask 255.255.255.0", "net 172.16", "net 10",
                   "net 192.0.2", "net 2001:db8::/32", "host 2001:db8::1", "port 80", "portrange 6000-6008")),
    *(f"{proto} {way} {what}" for proto in ("tcp", "udp", "sctp") for way in ("src", "dst", "src or dst")
      for what in ("port 80", "portrange 53-123")),
]  # fmt: skip
NETS = ["net 128.3", "net 10.0.0.0 mask 255.0.0.0", "net 10.0.0.0/9", "net 0.0.0.0/0", "net 10.0.0.1", "arp net 10.0.0",
        "ip net 10.0.0.0/31", "ip6 net 2001:db8::/127", "ip6 net 2001:db8::/33", "net ::/0"]  # fmt: skip
PORTS = ["port 20", "port 53", "port domain", "port 65535", "portrange 6000-6008", "portrange 80-80", "portrange 9-1",
         "tcp port 21", "udp portrange 7000-7009", "sctp port 5060", "tcp dst port ftp or ftp-data or domain",
         "udp port syslog", "port http"]  # fmt: skip
LINK = ["ether dst 02:00:00:00:00:02", "ether src 02:00:00:00:00:01", "ether host 02:00:00:00:00:01",
        "ether host 0200.0000.0001", "ether host 02-00-00-00-00-01", "ether host 020000000001",
        "ether host 02.00.00.00.00.01", "fddi dst 02:00:00:00:00:02", "tr src 02:00:00:00:00:01",
        "wlan host 02:00:00:00:00:02", "ether broadcast", "broadcast", "ether multicast", "multicast", "ip broadcast",
        "ip multicast", "ip6 multicast", "ether[0] & 1 != 0",
        "ether host 02:00:00:00:00:01 and not host 10.0.0.1"]  # fmt: skip
LENGTHS = ["less 60", "greater 1000", "len <= 100", "len >= 1500", "len = 60", "len != 60", "less 0", "greater 0"]
PROTOCOLS = [
    *(f"ip proto {name}" for name in ("1", "6", "\\tcp", "\\udp", "\\icmp", "\\igmp", "\\pim", "\\vrrp", "\\ah",
                                      "\\esp", "\\sctp", "eigrp", "255")),
    *(f"ip6 proto {name}" for name in ("6", "17", "58", "\\ipv6-icmp", "\\tcp", "0", "44")),
    *(f"proto {name}" for name in ("6", "17", "\\tcp", "\\udp", "132")),
    *each("{}", "icmp icmp6 ah esp pim sctp tcp udp igmp igrp vrrp carp"),
    *(f"{family}protochain {number}" for family in ("", "ip ", "ip6 ") for number in ("6", "17", "51", "58", "\\tcp")),
]  # fmt: skip
ETHER_PROTOCOLS = ("aarp", "arp", "atalk", "decnet", "ip", "ip6", "ipx", "iso", "lat", "mopdl", "moprc", "netbeui",
                   "rarp", "sca", "stp")  # fmt: skip
ETHER = [
    *(f"ether proto \\{name}" for name in ETHER_PROTOCOLS), "ether proto loopback", "ether proto 0x88cc",
    "ether proto 0x0800", "ether proto 5", "fddi proto \\arp", "tr proto \\arp", "wlan proto \\arp", "link proto 1",
    *(name for name in ETHER_PROTOCOLS if name != "loopback"),
]  # fmt: skip
DECNET = ["decnet src 10.123", "decnet dst 10.123", "decnet host 1.1", "decnet host 63.1023"]
LLC = ["llc", *each("llc {}", "i s u rr rnr rej ui ua disc sabme test xid frmr")]
DIRECTIONS = ["inbound", "outbound", "not inbound", "ifindex 3"]
PF = ["ifname en0", "on en0", "rnr 5", "rulenum 5", "reason match", "reason bad-offset", "reason fragment",
      "reason short", "reason normalize", "reason memory", "rset rules", "ruleset rules", "srnr 2", "subrulenum 2",
      "action pass", "action block", "action nat", "action rdr", "action binat", "action nonat"]  # fmt: skip
MGT = "assoc-req assoc-resp reassoc-req reassoc-resp probe-req probe-resp beacon atim disassoc auth deauth"
CTL = "ps-poll rts cts ack cf-end cf-end-ack"
DATA = ("data data-cf-ack data-cf-poll data-cf-ack-poll null cf-ack cf-poll cf-ack-poll qos-data qos-data-cf-ack "
        "qos-data-cf-poll qos-data-cf-ack-poll qos qos-cf-poll qos-cf-ack-poll")  # fmt: skip
WLAN = [
    *(f"wlan {which} 02:00:00:00:00:02" for which in ("ra", "ta", "addr1", "addr2", "addr3", "addr4", "src", "dst")),
    "wlan addr2 0:2:3:4:5:6", "type mgt", "type ctl", "type data",
    *each("type mgt subtype {}", MGT), *each("type ctl subtype {}", CTL), *each("type data subtype {}", DATA),
    *each("subtype {}", "beacon rts qos-data"),
    "type 0", "type 0x08", "dir nods", "dir tods", "dir fromds", "dir dstods", "dir 1",
    "wlan[0] & 0xfc = 0x80", "radio[2:2] < 20", "link[0] != 0x80",
]  # fmt: skip
TAGS = ["vlan", "vlan 100", "vlan 7", "vlan 100 && vlan 200", "vlan && vlan 7", "vlan && vlan 300 && ip",
        "vlan and tcp", "vlan and host 10.0.0.1", "vlan and port 80", "not vlan", "ip or vlan", "vlan or ip", "mpls",
        "mpls 100000", "mpls 100000 && mpls 1024", "mpls && mpls 1024 && host 192.9.200.1", "mpls and ip", "pppoed",
        "pppoes", "pppoes 0x27", "pppoes 0x27 && ip", "pppoes and tcp port 80", "pppoes && ip6", "geneve", "geneve 0xb",
        "geneve 0xb && ip", "geneve and tcp port 80", "vlan and geneve and ip"]  # fmt: skip
OSI = ["iso proto \\clnp", "iso proto \\esis", "iso proto \\isis", "iso proto 0x83",
       *each("{}", "clnp esis isis l1 l2 iih lsp snp csnp psnp")]  # fmt: skip
ATM = ["vpi 1", "vpi > 3", "vci 5", "vci 3 or vci 4", "lane", "lane and ip", "oamf4sc", "oamf4ec", "oamf4", "oam",
       "metac", "bcc", "sc", "ilmic", "connectmsg", "metaconnect", "llc and ip"]  # fmt: skip
SIGNALLING = ["fisu", "lsu", "lssu", "msu", "hfisu", "hlssu", "hmsu", "sio 5", "opc 100", "dpc 200", "sls 3", "hsio 5",
              "hopc 100", "hdpc 200", "hsls 3"]  # fmt: skip
ACCESSORS = [
    *each("{}[0] != 0", "arp atalk carp decnet ether fddi icmp icmp6 igmp igrp ip ip6 lat link mopdl moprc pim ppp"),
    *each("{}[0] != 0", "radio rarp sca sctp slip tcp tr udp vrrp wlan"),
    *(f"{proto}[{at}:{size}] {op} 3" for proto in ("ip", "tcp", "udp", "ip6", "link") for at in (0, 2)
      for size in (1, 2, 4) for op in (">", "<=", "!=")),
]  # fmt: skip
OPERATORS = [
    *(f"ip[2:2] {op} 3 > 20" for op in ("+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>")),
    *(f"ip[8] {op} ip[9] {relation} 70" for op in ("+", "-", "*", "&", "|", "^") for relation in (">", "<", "=")),
    *(f"ip[2:2] {op} ip[8] != 0" for op in ("/", "%", "<<", ">>")),
    "ip[0] & 0xf != 5", "ip[6:2] & 0x1fff = 0", "0x80000000 < ip[12:4]", "ip[12:4] - ip[16:4] > 0xffffffff - len",
    "-ip[0] > 3", "len - 14 = ip[2:2]", "ip[ip[0] & 0xf] = 4", "tcp[tcp[12] >> 2] = 0x47", "udp[4:2] > len - 100",
    "ether[ip[2:2]] = 0", "(ip[0] << 2 & 0x3c) = 20", "ip[2:2] / ip[8] > 10", "5 * len > 1000",
]  # fmt: skip
ICMP = ("echoreply unreach sourcequench redirect echo routeradvert routersolicit timxceed paramprob tstamp tstampreply "
        "ireq ireqreply maskreq maskreply")  # fmt: skip
ICMP6 = ("destinationunreach packettoobig timeexceeded parameterproblem echo echoreply multicastlistenerquery "
         "multicastlistenerreportv1 multicastlistenerdone routersolicit routeradvert neighborsolicit neighboradvert "
         "redirect routerrenum nodeinformationquery nodeinformationresponse ineighbordiscoverysolicit "
         "ineighbordiscoveryadvert multicastlistenerreportv2 homeagentdiscoveryrequest homeagentdiscoveryreply "
         "mobileprefixsolicit mobileprefixadvert certpathsolicit certpathadvert multicastrouteradvert "
         "multicastroutersolicit multicastrouterterm")  # fmt: skip
NAMED_VALUES = [
    *each("icmp[icmptype] = icmp-{}", ICMP), *each("icmp6[icmp6type] = icmp6-{}", ICMP6),
    *each("tcp[tcpflags] & tcp-{} != 0", "fin syn rst push ack urg ece cwr"),
    "icmp[icmpcode] = 1", "icmp6[icmp6code] = 0",
]  # fmt: skip
EXAMPLES = [
    "host 10.0.0.1 and (192.0.2.1 or 192.0.2.53)", "ip host 10.0.0.1 and not 192.0.2.1", "net 128.32",
    "ether host 02:00:00:00:00:01 and not host 10.0.0.9 and (port ftp or ftp-data)", "ip and not net 192.0.2.0/24",
    "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0 and not src and dst net 10.0.0.0/8",
    "tcp[tcpflags] & (tcp-rst|tcp-ack) == (tcp-rst|tcp-ack)",
    "tcp port 80 and (((ip[2:2] - ((ip[0]&0xf)<<2)) - ((tcp[12]&0xf0)>>2)) != 0)",
    "ether host 02:00:00:00:00:01 and not host 10.0.0.9 and ip[2:2] > 576", "ether[0] & 1 = 0 and ip[16] >= 224",
    "icmp[icmptype] != icmp-echo and icmp[icmptype] != icmp-echoreply",
    "icmp6[icmp6type] != icmp6-echo and icmp6[icmp6type] != icmp6-echoreply",
    "host 10.0.0.1 and not port ftp and not port ftp-data", "not host 10.0.0.1 and 192.0.2.1",
    "not (host 10.0.0.1 or 192.0.2.1)", "tcp && !port 22 || udp", "ether proto \\ip and host 10.0.0.1", "",
    "tcp[tcpflags] & tcp-syn != 0 and not src net 10.0.0.0/8", "ip6 protochain 44", "not ip6 protochain 6 and ip6",
    "ip protochain 6 or ip6 protochain 17 or arp", "port 80 and not ip6 protochain 51",
]  # fmt: skip

MANUAL_PAGE: dict[str, list[str]] = {
    "hosts": HOSTS, "qualified": QUALIFIED, "nets": NETS, "ports": PORTS, "link": LINK, "lengths": LENGTHS,
    "protocols": PROTOCOLS, "ether": ETHER, "decnet": DECNET, "llc": LLC, "directions": DIRECTIONS, "pf": PF,
    "wlan": WLAN, "tags": TAGS, "osi": OSI, "atm": ATM, "signalling": SIGNALLING, "accessors": ACCESSORS,
    "operators": OPERATORS, "named values": NAMED_VALUES, "examples": EXAMPLES,
}  # fmt: skip


def long_text(rng: random.Random, terms: int) -> str:
    """`terms` hosts, nets, ports and protocols, or-ed, and-ed and negated; addresses are those of the test captures
    and others.
    """

    def address() -> str:
        return f"{rng.choice(['10.0.0', '192.0.2', '198.18.0', '172.16.7'])}.{rng.randrange(1, 60)}"

    def term() -> str:
        way = rng.choice(["", "", "src ", "dst ", "src and dst "])
        proto = rng.choice(["", "tcp ", "udp "])
        return rng.choice([
            f"{way}host {address()}", f"{way}host {address()}", f"{way}net {address().rsplit('.', 1)[0]}.0/24",
            f"{way}net 10.{rng.randrange(256)}.0.0/{rng.randrange(16, 25)}",
            f"{proto}{way}port {rng.choice([22, 53, 80, 123, 443, rng.randrange(65536)])}",
            f"{proto}{way}portrange {rng.randrange(30000)}-{30000 + rng.randrange(30000)}",
            f"{way}host 2001:db8::{rng.randrange(1, 9):x}", rng.choice(["tcp", "udp", "arp", "icmp", "ip6"]),
        ])  # fmt: skip

    joined = term()
    for _ in range(terms - 1):
        negation = rng.choice(["", "", "", "not "])
        joined = f"{joined} {rng.choice(['or', 'or', 'or', 'and'])} {negation}{term()}"
    return f"not ({joined})" if rng.random() < 0.2 else joined


def or_ed(rng: random.Random, what: str, count: int) -> str:
    """`count` hosts, ports or nets, or-ed."""
    made: dict[str, Callable[[], str]] = {
        "host": lambda: f"10.0.{rng.randrange(3)}.{rng.randrange(1, 255)}",
        "port": lambda: str(rng.choice([80, 443, rng.randrange(1, 65536)])),
        "net": lambda: f"10.{rng.randrange(256)}.{rng.randrange(256)}.0/24",
        "ip6 host": lambda: f"2001:db8::{rng.randrange(1, 65536):x}",
        "ether host": lambda: f"02:00:00:00:{rng.randrange(256):02x}:{rng.randrange(256):02x}",
        "dst port": lambda: str(rng.randrange(1, 2000)),
        "src net": lambda: f"10.0.{rng.randrange(256)}.{rng.randrange(64) * 4}/30",
    }  # fmt: skip
    return " or ".join(f"{what} {made[what]()}" for _ in range(count))
