# SPDX-License-Identifier: BSD-3-Clause
"""Who may capture what."""

from __future__ import annotations

import grp
import pwd

import pytest

from pyffpf.daemon.config import AllowRule, BuffersConfig, Config, GroupConfig, LimitsConfig, SourceConfig
from pyffpf.daemon.credentials import Peer
from pyffpf.daemon.policy import GroupKey, Policy, Usage
from pyffpf.daemon.protocol import SNAP_LEN_MAX, Open, RefusedError

ROOT = Peer(1, 0, 0, frozenset({0}), 0)
NOBODY = Peer(2, 65534, 65534, frozenset({65534}), 0)
DAEMON = pwd.getpwnam("daemon")
MEMBER = Peer(3, 4242, 4242, frozenset({4242, grp.getgrnam("tty").gr_gid}), 0)


def policy(*rules: AllowRule, limits: LimitsConfig | None = None) -> Policy:
    return Policy(Config(allow=rules, limits=limits or LimitsConfig()))


def wanted(source: str = "eth0", promisc: bool = False, group: str | None = None) -> Open:
    return Open(1, source, SNAP_LEN_MAX, promisc, group)


def refusal(rules: Policy, peer: Peer, request: Open) -> tuple[str, str]:
    with pytest.raises(RefusedError) as refused:
        rules.decide(peer, request, request.source)
    return str(refused.value.code), refused.value.text


def test_root_needs_no_rule_and_others_do() -> None:
    assert policy().decide(ROOT, wanted(promisc=True), "eth0").key == GroupKey(0, SNAP_LEN_MAX)
    assert refusal(policy(), NOBODY, wanted()) == (
        "denied",
        "user 65534 may not capture: no rule of ffpfd's configuration names it",
    )


@pytest.mark.parametrize(
    ("rule", "peer", "allowed"),
    [
        (AllowRule(users=("nobody",)), NOBODY, True),
        (AllowRule(users=("65534",)), NOBODY, True),
        (AllowRule(users=("daemon",)), NOBODY, False),
        (AllowRule(users=("no such user",), groups=("no such group",)), NOBODY, False),
        (AllowRule(groups=("tty",)), MEMBER, True),
        (AllowRule(groups=("tty",)), NOBODY, False),
        (AllowRule(groups=("4242",)), MEMBER, True),
        (AllowRule(groups=("*",)), NOBODY, True),
        (AllowRule(users=("*",)), MEMBER, True),
        (AllowRule(users=("*",), sources=("lo", "eth*")), NOBODY, True),
        (AllowRule(users=("*",), sources=("lo", "wlan?")), NOBODY, False),
        (AllowRule(users=("*",), sources=("netfilter:*",)), NOBODY, False),
    ],
)
def test_rules_name_users_groups_and_sources(rule: AllowRule, peer: Peer, allowed: bool) -> None:
    if allowed:
        assert policy(rule).decide(peer, wanted(), "eth0").key.gid == peer.gid
    else:
        assert refusal(policy(rule), peer, wanted())[0] == "denied"


def test_it_is_the_sources_own_name_that_counts() -> None:
    rules = policy(AllowRule(users=("*",), sources=("lo",)))
    with pytest.raises(RefusedError):
        rules.decide(NOBODY, wanted("lo"), "eth0")  # another name of eth0


def test_the_widest_of_several_rules_holds_within_the_limit() -> None:
    narrow = AllowRule(users=("nobody",), promisc=False, snap_len=96)
    wide = AllowRule(users=("nobody",), sources=("eth0",), snap_len=2000)
    assert policy(narrow, wide).decide(NOBODY, wanted(promisc=True), "eth0").key.snap_len == 2000
    assert policy(narrow, wide).decide(NOBODY, wanted("lo"), "lo").key.snap_len == 96
    assert "promiscuous" in refusal(policy(narrow, wide), NOBODY, wanted("lo", promisc=True))[1]
    limited = policy(wide, limits=LimitsConfig(snap_len=128))
    assert limited.decide(NOBODY, wanted(), "eth0").key.snap_len == 128


def test_members_who_may_see_less_have_buffers_apart() -> None:
    less = AllowRule(users=("nobody",), snap_len=96)
    other = Peer(4, 4243, 65534, frozenset({65534}), 0)
    rules = policy(less, AllowRule(users=("4243",)))
    assert rules.decide(NOBODY, wanted(), "eth0").key != rules.decide(other, wanted(), "eth0").key


def test_a_named_group_needs_membership() -> None:
    rules = policy(AllowRule(users=("*",)))
    tty = grp.getgrnam("tty").gr_gid
    assert rules.decide(MEMBER, wanted(group="tty"), "eth0").key.gid == tty
    assert rules.decide(ROOT, wanted(group="tty"), "eth0").key.gid == tty
    assert refusal(rules, NOBODY, wanted(group="tty")) == ("denied", "user 65534 is no member of group tty")
    assert refusal(rules, NOBODY, wanted(group="no such group"))[0] == "invalid"
    assert refusal(rules, NOBODY, wanted(group="99999999999"))[0] == "invalid"


def test_limits_are_those_of_a_user_and_not_of_root() -> None:
    rules = policy(limits=LimitsConfig(flows=2, memory=1000))
    rules.check_limits(NOBODY, Usage(1, 500), 500)
    for usage, more in ((Usage(2, 0), 0), (Usage(1, 500), 501)):
        with pytest.raises(RefusedError) as refused:
            rules.check_limits(NOBODY, usage, more)
        assert refused.value.code == "limit"
        rules.check_limits(ROOT, usage, more)


def test_administrators() -> None:
    rules = Policy(Config())
    assert rules.is_admin(ROOT)
    assert not rules.is_admin(NOBODY)


def test_plans_are_the_groups_own_where_it_has_some() -> None:
    tty = grp.getgrnam("tty").gr_gid
    rules = Policy(
        Config(
            buffers=BuffersConfig(stall_ms=7),
            group={"tty": GroupConfig(bms="frp"), "4242": GroupConfig(stall_ms=0)},
            source={"lo": SourceConfig(bytes=1 << 20)},
        )
    )
    assert (rules.plan(tty).bms, rules.plan(tty).stall_ms, rules.plan(tty).name) == ("frp", 7, "tty")
    assert (rules.plan(4242).bms, rules.plan(4242).stall_ms, rules.plan(4242).name) == ("srp", 0, "4242")
    assert (rules.source_bytes("lo"), rules.source_bytes("eth0")) == (1 << 20, 64 << 20)


def test_a_right_ends_when_what_it_gave_is_not_given_any_more() -> None:
    rules = policy(AllowRule(users=("nobody",), sources=("eth0",), promisc=False, snap_len=96))
    assert rules.ended(NOBODY, "eth0", promisc=False, snap_len=96) is None
    assert rules.ended(ROOT, "eth1", promisc=True, snap_len=SNAP_LEN_MAX) is None
    for source, promisc, snap_len in (("eth1", False, 96), ("eth0", True, 96), ("eth0", False, 97)):
        assert rules.ended(NOBODY, source, promisc, snap_len)


def test_places_in_netfilter_are_named_as_sources_are() -> None:
    rules = policy(AllowRule(users=("*",), sources=("netfilter:input*", "eth*")))
    for source in ("netfilter:input", "netfilter:input,ip6"):
        rules.decide(NOBODY, wanted(source), source)
    assert refusal(rules, NOBODY, wanted("netfilter:output"))[0] == "denied"
