# SPDX-License-Identifier: BSD-3-Clause
"""FPL-2 for Pygments, made by python -m fpl.fpl2.published: pygmentize -x -l fpl2_lexer.py:Fpl2Lexer program.fpl"""

from __future__ import annotations

import re
from typing import ClassVar

from pygments.lexer import RegexLexer
from pygments.token import Comment, Keyword, Name, Number, Operator, Punctuation, String, Whitespace


class Fpl2Lexer(RegexLexer):  # type: ignore[misc]
    name = "FPL-2"
    aliases: ClassVar = ["fpl2"]
    filenames: ClassVar = ["*.fpl"]
    flags = re.IGNORECASE
    tokens: ClassVar = {
        "root": [
            (r"\s+", Whitespace),
            (r"//[^\n]*", Comment.Single),
            (r"/\*[\s\S]*?\*/", Comment.Multiline),
            (r'"(?:[^"\\\n]|\\.)*"(?:i\b)?', String),
            (r"[0-9a-fA-F]{0,4}(?::[0-9a-fA-F]{0,4}){2,7}(?:/[0-9]+)?", Number),
            (r"[0-9]+(?:\.[0-9]+){3}(?:/[0-9]+)?", Number),
            (r"(?:0[xX][0-9a-fA-F]+|0[bB][01]+|[0-9]+)\b", Number),
            (r"\b(?:CONTAINS|EXTERN|PERCPU|RETURN|STARTS|BREAK|MACRO|MERGE|ELSE|HASH|PAIR|"
             r"THEN|WHEN|WITH|FOR|MAX|NOT|ROF|USE|FI|IF|IN)\b", Keyword),
            (r"\b(?:ICMP_TIME_EXCEEDED|ICMP6_ECHO_REPLY|ICMP_UNREACHABLE|IP6_HAS_FRAGMENT|"
             r"IP6_HAS_HOPBYHOP|IP6_HAS_MOBILITY|IP_OPTION_RECORD|IP_OPTION_STRICT|SCTP_CHUNK_FLAGS|"
             r"DNS_ADDITIONALS|DNS_AUTHORITIES|ICMP_ECHO_REPLY|IP6_HAS_OPTIONS|IP6_HAS_ROUTING|"
             r"IP_OPTION_ALERT|IP_OPTION_LOOSE|ARP_SENDER_MAC|ARP_TARGET_MAC|IP_OPTION_TIME|"
             r"SCTP_CHUNK_LEN|VLAN_INNER_PCP|DNS_QUESTIONS|ETH_BROADCAST|ETH_MULTICAST|"
             r"PPPOE_SESSION|SCTP_INIT_ACK|SCTP_SHUTDOWN|TCP_TIME_ECHO|VLAN_INNER_ID|GENEVE_PROTO|"
             r"IP6_DST_HIGH|IP6_SRC_HIGH|OPTION_SCALE|OPTION_TIMES|VLAN_PRESENT|DNS_ANSWERS|"
             r"GRE_HAS_KEY|IP6_DST_LOW|IP6_SRC_LOW|IS_FRAGMENT|MPLS_BOTTOM|OPTION_SACK|PAYLOAD_LEN|"
             r"PPPOE_PROTO|PROTO_ICMP6|TCP_PAYLOAD|TCP_SACK_OK|UDP_PAYLOAD|ARP_SENDER|ARP_TARGET|"
             r"DNS_OPCODE|DNS_QCLASS|EXTENSIONS|GENEVE_VNI|ICMP6_CODE|ICMP6_ECHO|ICMP6_TYPE|"
             r"IP6_HAS_AH|IP_OPTIONS|IP_VERSION|MPLS_LABEL|OPTION_MSS|PROTO_ICMP|PROTO_IGMP|"
             r"PROTO_IPIP|PROTO_OSPF|PROTO_SCTP|SCTP_ABORT|SCTP_CHUNK|SCTP_DPORT|SCTP_SPORT|"
             r"TCP_OFFSET|TCP_URGENT|TCP_WINDOW|TYPE_PPPOE|VLAN_INNER|VLAN_OUTER|DNS_ASKED|"
             r"DNS_CNAME|DNS_QTYPE|DNS_RCODE|FRAGMENT6|GRE_PROTO|HAS_PORTS|ICMP6_SEQ|ICMP_CODE|"
             r"ICMP_ECHO|ICMP_TYPE|INTERFACE|IP6_CLASS|IS_GENEVE|IS_TUNNEL|ND_TARGET|PROTO_ESP|"
             r"PROTO_GRE|PROTO_IP6|PROTO_TCP|PROTO_UDP|SCTP_DATA|SCTP_INIT|TCP_ACKNO|TCP_DPORT|"
             r"TCP_FLAGS|TCP_SCALE|TCP_SPORT|TYPE_MPLS|UDP_DPORT|UDP_SPORT|VLAN_TAGS|VXLAN_VNI|"
             r"DNS_AAAA|DNS_NAME|DST_HIGH|ETHERNET|ETH_TYPE|ICMP6_ID|ICMP_SEQ|IP6_FLOW|IP6_FRAG|"
             r"IP6_HOPS|IP6_NEXT|IP_PROTO|IS_ICMP6|IS_PPPOE|IS_VXLAN|MPLS_TTL|PROTO_AH|SCTP_SUM|"
             r"SCTP_TAG|SRC_HIGH|TCP_TIME|TYPE_ARP|TYPE_IP6|VLAN_DEI|VLAN_PCP|VLAN_TCI|DNS_TXT|"
             r"DST_LOW|ETH_DST|ETH_SRC|GRE_KEY|ICMP_ID|IFINDEX|IP6_DST|IP6_LEN|IP6_SRC|IP_DSCP|"
             r"IP_FRAG|IS_ICMP|IS_IPIP|IS_MPLS|IS_QINQ|IS_SCTP|IS_VLAN|L4PROTO|MPLS_TC|PAYLOAD|"
             r"PKTTYPE|SRC_LOW|TCP_ACK|TCP_CWR|TCP_ECE|TCP_FIN|TCP_MSS|TCP_PSH|TCP_RST|TCP_SEQ|"
             r"TCP_SUM|TCP_SYN|TCP_URG|TYPE_IP|UDP_LEN|UDP_SUM|VLAN_ID|ARP_OP|CAPLEN|DNS_AA|"
             r"DNS_AD|DNS_AT|DNS_CD|DNS_ID|DNS_MX|DNS_NS|DNS_QR|DNS_RA|DNS_RD|DNS_TC|IP6_ID|"
             r"IP6_MF|IP_DST|IP_ECN|IP_IHL|IP_LEN|IP_SRC|IP_SUM|IP_TOS|IP_TTL|IS_ARP|IS_DNS|"
             r"IS_GRE|IS_IP6|IS_TCP|IS_UDP|L2TYPE|MAPPED|DNS_A|DPORT|FALSE|IP_DF|IP_ID|IP_MF|"
             r"IS_IP|PROTO|SPORT|TRUE|DST|LEN|SRC|L2|L3|L4|L5)\b", Name.Builtin),
            (r"\b(?:PKT|M(?:EM)?(?:@[A-Za-z_][A-Za-z0-9_]*)?|R|INNER|B|D|Q|W|[US](?:1|2|4|8|"
             r"16|32|64|128))\b", Keyword.Type),
            (r"[A-Za-z_][A-Za-z0-9_]*", Name),
            (r"\+\+|--|&&|\|\||<<=|>>=|<<|>>|[-+*/%&^|=!<>]=|\.\.|[-+*/%&^|=!<>~]", Operator),
            (r"[][(){};,.]", Punctuation),
        ]
    }  # fmt: skip
