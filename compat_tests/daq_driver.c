/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Captures through libdaq 2 as snort 2.9 does (its sfdaq.c and snort.c): load the modules, initialize the one named
 * "pcap", set the filter, start, acquire in batches with an analysis callback that gives verdicts, break the loop from
 * within the callback, read the statistics, stop, shut down. Prints every packet and every answer of the module.
 *
 *     daq_driver -M MODULES (-r FILE | -i DEVICE) [-s SNAPLEN] [-t TIMEOUT_MS] [-p] [-f FILTER] [-b BATCH]
 *                [-n PACKETS] [-e OCTETS] [-V KEY=VALUE] [-z]
 *
 * -p: not promiscuous; -b: packets asked for in one acquire, 0 all; -n: break the loop at this packet; -e: at one that
 * begins with these octets, in hexadecimal; -V: variable of the module (snort's --daq-var); -z: reset the statistics at
 * the tenth packet. SIGINT and SIGTERM break the loop at the next packet.
 * Exit code 0; 1 when the module refuses.
 */
#include <daq.h>
#include <daq_api.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RESET_AT 10

struct session {
	const DAQ_Module_t *module;
	void *handle;
	uint64_t packets, stop_at;
	const char *last; /* hexadecimal, NULL: none */
	int reset;
	int broken;
};

static volatile sig_atomic_t stopped;

static void
stop(int number)
{
	(void)number;
	stopped = 1;
}

static bool
begins_with(const uint8_t *data, uint32_t len, const char *hex)
{
	char octet[3];

	for (uint32_t i = 0; hex[2 * i]; i++) {
		if (i == len)
			return false;
		snprintf(octet, sizeof(octet), "%02x", data[i]);
		if (strncmp(hex + 2 * i, octet, 2) != 0)
			return false;
	}
	return true;
}

static DAQ_Verdict
analyse(void *user, const DAQ_PktHdr_t *header, const uint8_t *data)
{
	struct session *s = user;
	DAQ_Verdict verdict = s->packets % 3 == 2 ? DAQ_VERDICT_BLOCK : DAQ_VERDICT_PASS;

	s->packets++;
	printf("%ld.%06ld cap %u len %u flags %x in %d out %d verdict %s\n", (long)header->ts.tv_sec,
	       (long)header->ts.tv_usec, header->caplen, header->pktlen, header->flags, header->ingress_index,
	       header->egress_index, daq_verdict_string(verdict));
	for (uint32_t i = 0; i < header->caplen; i++)
		printf("%02x", data[i]);
	printf("\n");
	if (s->reset && s->packets == RESET_AT)
		daq_reset_stats(s->module, s->handle);
	if (s->packets == s->stop_at || stopped || (s->last && begins_with(data, header->caplen, s->last))) {
		s->broken = 1;
		printf("breakloop %d\n", daq_breakloop(s->module, s->handle));
	}
	return verdict;
}

static int
no_meta(void *user, const DAQ_MetaHdr_t *header, const uint8_t *data)
{
	(void)user;
	(void)header;
	(void)data;
	return 0;
}

static void
print_statistics(const struct session *s)
{
	DAQ_Stats_t stats;

	memset(&stats, 0, sizeof(stats));
	printf("stats %d", daq_get_stats(s->module, s->handle, &stats));
	printf(" hw received %" PRIu64 " hw dropped %" PRIu64 " received %" PRIu64 " filtered %" PRIu64
	       " injected %" PRIu64 " pass %" PRIu64 " block %" PRIu64 "\n",
	       stats.hw_packets_received, stats.hw_packets_dropped, stats.packets_received, stats.packets_filtered,
	       stats.packets_injected, stats.verdicts[DAQ_VERDICT_PASS], stats.verdicts[DAQ_VERDICT_BLOCK]);
}

static int
refuse(const struct session *s, const char *what, int code)
{
	fprintf(stderr, "%s: %d - %s\n", what, code, daq_get_error(s->module, s->handle));
	daq_shutdown(s->module, s->handle);
	return 1;
}

static int
run(struct session *s, const char *filter, int batch)
{
	int rc;

	printf("state %s capabilities %x snaplen %d\n", daq_state_string(daq_check_status(s->module, s->handle)),
	       daq_get_capabilities(s->module, s->handle), daq_get_snaplen(s->module, s->handle));
	if (filter && (rc = daq_set_filter(s->module, s->handle, filter)) != 0)
		return refuse(s, "filter", rc);
	if ((rc = daq_start(s->module, s->handle)) != 0)
		return refuse(s, "start", rc);
	printf("state %s datalink %d\n", daq_state_string(daq_check_status(s->module, s->handle)),
	       daq_get_datalink_type(s->module, s->handle));
	fprintf(stderr, "started\n");
	do
		rc = daq_acquire_with_meta(s->module, s->handle, batch, analyse, no_meta, s);
	while (rc == 0 && !s->broken && !stopped);
	printf("acquired %" PRIu64 " rc %d\n", s->packets, rc);
	if (rc != 0 && rc != DAQ_READFILE_EOF)
		fprintf(stderr, "acquire: %d - %s\n", rc, daq_get_error(s->module, s->handle));
	print_statistics(s);
	printf("stop %d", daq_stop(s->module, s->handle));
	printf(" state %s\n", daq_state_string(daq_check_status(s->module, s->handle)));
	print_statistics(s);
	printf("shutdown %d\n", daq_shutdown(s->module, s->handle));
	return rc != 0 && rc != DAQ_READFILE_EOF;
}

int
main(int argc, char **argv)
{
	const char *directories[] = { NULL, NULL };
	const char *filter = NULL;
	DAQ_Config_t config = { .snaplen = 1518, .timeout = 1000, .flags = DAQ_CFG_PROMISC };
	struct session s = { 0 };
	struct sigaction action = { .sa_handler = stop };
	char error[256] = "";
	int batch = 0, option, rc;
	char *value;

	while ((option = getopt(argc, argv, "r:i:M:s:t:pf:b:n:e:V:z")) != -1) {
		switch (option) {
		case 'r':
		case 'i':
			config.name = optarg;
			config.mode = option == 'r' ? DAQ_MODE_READ_FILE : DAQ_MODE_PASSIVE;
			break;
		case 'M':
			directories[0] = optarg;
			break;
		case 's':
			config.snaplen = atoi(optarg);
			break;
		case 't':
			config.timeout = (unsigned)atoi(optarg);
			break;
		case 'p':
			config.flags = 0;
			break;
		case 'f':
			filter = optarg;
			break;
		case 'b':
			batch = atoi(optarg);
			break;
		case 'n':
			s.stop_at = strtoull(optarg, NULL, 10);
			break;
		case 'e':
			s.last = optarg;
			break;
		case 'V':
			value = strchr(optarg, '=');
			if (value)
				*value++ = '\0';
			daq_config_set_value(&config, optarg, value);
			break;
		case 'z':
			s.reset = 1;
			break;
		default:
			return 2;
		}
	}
	if (!config.name || !directories[0])
		return 2;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	if ((rc = daq_load_modules(directories)) != 0 || !(s.module = daq_find_module("pcap"))) {
		fprintf(stderr, "no module \"pcap\" in %s: %d\n", directories[0], rc);
		return 1;
	}
	printf("module %s type %x mode %s\n", daq_get_name(s.module), daq_get_type(s.module),
	       daq_mode_string(config.mode));
	rc = daq_initialize(s.module, &config, &s.handle, error, sizeof(error));
	if (rc != 0) {
		fprintf(stderr, "initialize: %d - %s\n", rc, error);
		return 1;
	}
	rc = run(&s, filter, batch);
	daq_config_clear_values(&config);
	daq_unload_modules();
	return rc;
}
