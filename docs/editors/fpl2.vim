" SPDX-License-Identifier: BSD-3-Clause
" Vim syntax of FPL-2, made by python -m fpl.fpl2.published. To ~/.vim/syntax/fpl2.vim; and in your vimrc:
"   autocmd BufRead,BufNewFile *.fpl setfiletype fpl2
if exists("b:current_syntax")
  finish
endif
syntax case ignore
syntax keyword fplKeyword BREAK CONTAINS ELSE EXTERN FI FOR HASH IF
syntax keyword fplKeyword IN MACRO MAX MERGE NOT PAIR PERCPU RETURN
syntax keyword fplKeyword ROF STARTS THEN USE WHEN WITH
syntax keyword fplField LEN CAPLEN IFINDEX PKTTYPE VLAN_PRESENT VLAN_TCI L2 ETHERNET
syntax keyword fplField L3 L2TYPE VLAN_TAGS VLAN_OUTER VLAN_INNER L4 L4PROTO EXTENSIONS
syntax keyword fplField FRAGMENT6 IP_OPTIONS L5 OPTION_MSS OPTION_SCALE OPTION_SACK OPTION_TIMES DNS_AT
syntax keyword fplField DNS_ASKED TRUE FALSE ETH_DST ETH_SRC ETH_TYPE ETH_BROADCAST ETH_MULTICAST
syntax keyword fplField TYPE_IP TYPE_ARP TYPE_IP6 TYPE_MPLS TYPE_PPPOE IS_VLAN IS_QINQ VLAN_ID
syntax keyword fplField VLAN_PCP VLAN_DEI VLAN_INNER_ID VLAN_INNER_PCP IS_MPLS MPLS_LABEL MPLS_TC MPLS_BOTTOM
syntax keyword fplField MPLS_TTL IS_PPPOE PPPOE_SESSION PPPOE_PROTO IS_ARP ARP_OP ARP_SENDER_MAC ARP_SENDER
syntax keyword fplField ARP_TARGET_MAC ARP_TARGET IS_IP IP_VERSION IP_IHL IP_TOS IP_DSCP IP_ECN
syntax keyword fplField IP_LEN IP_ID IP_DF IP_MF IP_FRAG IP_TTL IP_PROTO IP_SUM
syntax keyword fplField IP_SRC IP_DST IP_OPTION_RECORD IP_OPTION_TIME IP_OPTION_LOOSE IP_OPTION_STRICT IP_OPTION_ALERT IS_IP6
syntax keyword fplField IP6_CLASS IP6_FLOW IP6_LEN IP6_NEXT IP6_HOPS IP6_SRC IP6_DST IP6_SRC_HIGH
syntax keyword fplField IP6_SRC_LOW IP6_DST_HIGH IP6_DST_LOW IP6_HAS_HOPBYHOP IP6_HAS_ROUTING IP6_HAS_FRAGMENT IP6_HAS_AH IP6_HAS_OPTIONS
syntax keyword fplField IP6_HAS_MOBILITY IP6_FRAG IP6_MF IP6_ID IS_FRAGMENT SRC_HIGH SRC_LOW DST_HIGH
syntax keyword fplField DST_LOW MAPPED SRC DST PROTO PROTO_ICMP PROTO_IGMP PROTO_IPIP
syntax keyword fplField PROTO_TCP PROTO_UDP PROTO_IP6 PROTO_GRE PROTO_ESP PROTO_AH PROTO_ICMP6 PROTO_OSPF
syntax keyword fplField PROTO_SCTP IS_TCP IS_UDP IS_SCTP IS_ICMP IS_ICMP6 HAS_PORTS SPORT
syntax keyword fplField DPORT PAYLOAD PAYLOAD_LEN TCP_SPORT TCP_DPORT TCP_SEQ TCP_ACKNO TCP_OFFSET
syntax keyword fplField TCP_FLAGS TCP_FIN TCP_SYN TCP_RST TCP_PSH TCP_ACK TCP_URG TCP_ECE
syntax keyword fplField TCP_CWR TCP_WINDOW TCP_SUM TCP_URGENT TCP_PAYLOAD TCP_MSS TCP_SCALE TCP_SACK_OK
syntax keyword fplField TCP_TIME TCP_TIME_ECHO UDP_SPORT UDP_DPORT UDP_LEN UDP_SUM UDP_PAYLOAD SCTP_SPORT
syntax keyword fplField SCTP_DPORT SCTP_TAG SCTP_SUM SCTP_CHUNK SCTP_CHUNK_FLAGS SCTP_CHUNK_LEN SCTP_DATA SCTP_INIT
syntax keyword fplField SCTP_INIT_ACK SCTP_ABORT SCTP_SHUTDOWN ICMP_TYPE ICMP_CODE ICMP_ID ICMP_SEQ ICMP_ECHO
syntax keyword fplField ICMP_ECHO_REPLY ICMP_UNREACHABLE ICMP_TIME_EXCEEDED ICMP6_TYPE ICMP6_CODE ICMP6_ID ICMP6_SEQ ICMP6_ECHO
syntax keyword fplField ICMP6_ECHO_REPLY ND_TARGET IS_DNS DNS_ID DNS_QR DNS_OPCODE DNS_AA DNS_TC
syntax keyword fplField DNS_RD DNS_RA DNS_AD DNS_CD DNS_RCODE DNS_QUESTIONS DNS_ANSWERS DNS_AUTHORITIES
syntax keyword fplField DNS_ADDITIONALS DNS_NAME DNS_QTYPE DNS_QCLASS DNS_A DNS_NS DNS_CNAME DNS_MX
syntax keyword fplField DNS_TXT DNS_AAAA IS_GRE GRE_PROTO GRE_HAS_KEY GRE_KEY IS_VXLAN VXLAN_VNI
syntax keyword fplField IS_GENEVE GENEVE_VNI GENEVE_PROTO IS_IPIP IS_TUNNEL INTERFACE
syntax keyword fplPlace PKT MEM M R INNER B W D Q
syntax match fplPlace /\v<M(EM)?\@\h\w*>/
syntax match fplPlace /\v<[US](1|2|4|8|16|32|64|128)>/
syntax match fplNumber /\v<(0x\x+|0b[01]+|\d+(\.\d+\.\d+\.\d+(\/\d+)?)?)>/
syntax match fplNumber /\v<\x{0,4}(:\x{0,4}){2,7}(\/\d+)?/
syntax region fplString start=/"/ skip=/\\./ end=/"i\?/ oneline
syntax match fplComment /\/\/.*$/
syntax region fplComment start=/\/\*/ end=/\*\//
highlight default link fplKeyword Keyword
highlight default link fplField Identifier
highlight default link fplPlace Type
highlight default link fplNumber Number
highlight default link fplString String
highlight default link fplComment Comment
let b:current_syntax = "fpl2"
