# SPDX-License-Identifier: BSD-3-Clause
# Completion of ffpf, ffpf-extcap, ffpf-flow, ffpf-ixp, ffpf-run, ffpfd, fpl1 and fplc for bash; goes to
# share/bash-completion/completions/ffpf, with links of the other names. Needs nothing but bash.

_ffpf_words() {
	local word
	COMPREPLY=()
	while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -W "$1" -- "$2")
}

_ffpf_files() {
	local word
	COMPREPLY=()
	while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -f -- "$1")
	compopt -o filenames 2>/dev/null
}

_ffpf_groups() {
	local word
	COMPREPLY=()
	while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -g -- "$1")
}

_ffpf() {
	local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
	case $previous in
	--socket) _ffpf_files "$current" ;;
	--watch | --interval) _ffpf_words "1 2 5 10" "$current" ;;
	--sort) _ffpf_words "delivered/s dropped/s dropped seen/s waiting user program flow" "$current" ;;
	*)
		if ((COMP_CWORD == 1)); then
			_ffpf_words "status top --help" "$current"
		elif [[ ${COMP_WORDS[1]} == top ]]; then
			_ffpf_words "--interval --sort --socket --help" "$current"
		else
			_ffpf_words "--json --watch --socket --help" "$current"
		fi
		;;
	esac
}

# A flow is text of its own, in quotes, which is not completed.
_ffpf_flow() {
	local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
	case $previous in
	--classes) _ffpf_words "$(ffpf-flow --classes 2>/dev/null | while read -r name _; do echo "$name"; done)" "$current" ;;
	--follow | --mbuf) _ffpf_words "flow1" "$current" ;;
	--engine) _ffpf_words "auto shared embedded" "$current" ;;
	--group) _ffpf_groups "$current" ;;
	--socket) _ffpf_files "$current" ;;
	--format) _ffpf_words "text pcap" "$current" ;;
	--every | --seconds) _ffpf_words "1 2 5 10" "$current" ;;
	--graph) _ffpf_files "$current" ;;
	*)
		_ffpf_words "--classes --check --explain --list --follow --format --count --seconds --every --mbuf --json \
			--graph --quiet --engine --group --socket --verbose --snaplen --immediate --no-promisc --help" "$current"
		;;
	esac
}

_ffpfd() {
	local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
	case $previous in
	--config | --socket) _ffpf_files "$current" ;;
	--log-format) _ffpf_words "text json" "$current" ;;
	*) _ffpf_words "--config --socket --check-config --log-format --verbose --help" "$current" ;;
	esac
}

# Behind ffpf-run's own options comes a command, which is completed as if it stood alone.
_ffpf_run() {
	local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} at word
	for ((at = 1; at < COMP_CWORD; at++)); do
		word=${COMP_WORDS[at]}
		case $word in
		--engine | --group | --socket) ((at++)) ;;
		-*) ;;
		*)
			if declare -F _command_offset >/dev/null; then
				_command_offset "$at"
			else
				_ffpf_files "$current"
			fi
			return
			;;
		esac
	done
	case $previous:$current in
	--engine:*) _ffpf_words "auto shared embedded system" "$current" ;;
	--group:*) _ffpf_groups "$current" ;;
	--socket:*) _ffpf_files "$current" ;;
	*:-*) _ffpf_words "--engine --group --socket --stats --help" "$current" ;;
	*)
		COMPREPLY=()
		while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -c -- "$current")
		;;
	esac
}

_ffpf_extcap() {
	local current=${COMP_WORDS[COMP_CWORD]}
	local options="--extcap-interfaces --extcap-interface --extcap-dlts --extcap-config --extcap-capture-filter"
	case ${COMP_WORDS[COMP_CWORD - 1]} in
	--fifo) _ffpf_files "$current" ;;
	*) _ffpf_words "$options --extcap-version --capture --fifo --graph --help" "$current" ;;
	esac
}

_fpl1() {
	local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
	case $previous in
	--output | --read) _ffpf_files "$current" ;;
	--link) _ffpf_words "ethernet raw sll sll2" "$current" ;;
	*)
		if [[ $current == -* ]]; then
			_ffpf_words "--mbuf --output --binary --link --read --results --help" "$current"
		elif ((COMP_CWORD == 1)); then
			_ffpf_words "check assemble disassemble translate run" "$current"
		else
			_ffpf_files "$current"
		fi
		;;
	esac
}

_fplc_options() {
	case ${COMP_WORDS[1]}${COMP_WORDS[2]} in
	keygen*) ;;
	verify* | trustremove | trustlist) echo "--trust" ;;
	rotate* | trustadd) echo "--until --trust" ;;
	*) echo "--mbuf --link --fields --offline --target --stage --output --binary --record --key --extern --max-steps --max-rounds" ;;
	esac
}

_fplc() {
	local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
	case $previous in
	--link) _ffpf_words "ethernet raw sll sll2" "$current" ;;
	--target) _ffpf_words "x86-64 aarch64 microcode" "$current" ;;
	--stage) _ffpf_words "tree resolved ir optimised assembly kernel microengine-c microcode" "$current" ;;
	--fields | --output | --key | --trust) _ffpf_files "$current" ;;
	*)
		if [[ $current == -* ]]; then
			_ffpf_words "$(_fplc_options) --help" "$current"
		elif ((COMP_CWORD == 1)); then
			_ffpf_words "check format explain dump compile names externs keygen rotate verify trust" "$current"
		elif ((COMP_CWORD == 2)) && [[ ${COMP_WORDS[1]} == trust ]]; then
			_ffpf_words "add remove list" "$current"
		else
			_ffpf_files "$current"
		fi
		;;
	esac
}

_ffpf_ixp() {
	local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
	case $previous in
	--bms) _ffpf_words "srp frp" "$current" ;;
	--name) _ffpf_words "ixp0" "$current" ;;
	--port) _ffpf_words "pcap: if: generator:full" "$current" ;;
	copy-mode) _ffpf_words "zero all interesting --help" "$current" ;;
	*)
		if ((COMP_CWORD == 1)); then
			_ffpf_words "board status copy-mode reset --help" "$current"
		elif [[ ${COMP_WORDS[1]} == board ]]; then
			_ffpf_words "--name --port --bms --set --help" "$current"
		elif [[ ${COMP_WORDS[1]} == status ]]; then
			_ffpf_words "--json ixp0 --help" "$current"
		else
			_ffpf_words "ixp0 --help" "$current"
		fi
		;;
	esac
}

complete -F _ffpf ffpf
complete -F _ffpf_flow ffpf-flow
complete -F _ffpf_extcap ffpf-extcap
complete -F _ffpf_ixp ffpf-ixp
complete -F _ffpfd ffpfd
complete -F _ffpf_run ffpf-run
complete -F _fpl1 fpl1
complete -F _fplc fplc
