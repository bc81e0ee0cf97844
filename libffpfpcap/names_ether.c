/* SPDX-License-Identifier: BSD-3-Clause */
/* Ethernet addresses of the pcap ABI: from text, from a name, from the lines of an ethers(5) file. */
#include "abi.h"

#include <ctype.h>
#include <netinet/ether.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static u_char
hex_value(int digit)
{
	if (digit >= '0' && digit <= '9')
		return (u_char)(digit - '0');
	return (u_char)(tolower(digit) - 'a' + 10);
}

/*
 * Six octets, the caller's to free(), from "xx:xx:xx:xx:xx:xx", the same with '.' or '-', "xxxx.xxxx.xxxx" or
 * "xxxxxxxxxxxx". NULL: no memory. The text is taken to be well formed; what is missing is zero, and what follows
 * the sixth octet is not looked at.
 */
u_char *
pcap_ether_aton(const char *text)
{
	u_char *address = calloc(1, 6);

	if (!address)
		return NULL;
	for (unsigned i = 0; i < 6 && *text; i++) {
		if (*text == ':' || *text == '.' || *text == '-')
			text++;
		if (!*text)
			break;
		address[i] = hex_value((unsigned char)*text++);
		if (isxdigit((unsigned char)*text))
			address[i] = (u_char)(address[i] << 4 | hex_value((unsigned char)*text++));
	}
	return address;
}

/* Six octets, the caller's to free(); NULL: no such name in /etc/ethers. */
u_char *
pcap_ether_hostton(const char *name)
{
	struct ether_addr found;
	u_char *address;

	if (ether_hostton(name, &found) != 0)
		return NULL;
	address = malloc(sizeof(found));
	if (address)
		memcpy(address, &found, sizeof(found));
	return address;
}

static int
skip_blanks(FILE *file)
{
	int c;

	do
		c = getc(file);
	while (c == ' ' || c == '\t' || c == '\r');
	return c;
}

static int
skip_line(FILE *file)
{
	int c;

	do
		c = getc(file);
	while (c != '\n' && c != EOF);
	return c;
}

static int
is_blank(int c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Reads an address whose first digit is c; returns what follows it, or EOF. */
static int
read_address(FILE *file, int c, u_char address[6])
{
	for (unsigned i = 0; i < 6 && c != EOF; i++) {
		u_char octet = hex_value(c);

		c = getc(file);
		if (c != EOF && isxdigit(c)) {
			octet = (u_char)(octet << 4 | hex_value(c));
			c = getc(file);
		}
		if (c == EOF)
			break;
		address[i] = octet;
		if (c != ':')
			break;
		c = getc(file);
	}
	return c;
}

/* Reads a name whose first character is c, at most size - 1 characters; returns what follows it, or EOF. */
static int
read_name(FILE *file, int c, char *name, size_t size)
{
	size_t len = 0;

	do {
		name[len++] = (char)c;
		c = getc(file);
	} while (c != EOF && !is_blank(c) && len < size - 1);
	name[len] = '\0';
	return c;
}

/*
 * Next entry of an ethers(5) file, in static memory that the next call uses again (the ABI's promise); NULL at the end.
 * Lines that are no entry are passed over.
 */
struct pcap_etherent *
pcap_next_etherent(FILE *file)
{
	static struct pcap_etherent entry;
	int c;

	memset(&entry, 0, sizeof(entry));
	while ((c = skip_blanks(file)) != EOF) {
		if (c == '\n')
			continue;
		if (isxdigit(c)) {
			c = read_address(file, c, entry.addr);
			if (c == EOF)
				return NULL;
			/* As in libpcap, an address alone on its line takes its name from the following line. */
			c = is_blank(c) ? skip_blanks(file) : '#';
			if (c == '\n')
				continue;
			if (c == EOF)
				return NULL;
			if (c != '#') {
				c = read_name(file, c, entry.name, sizeof(entry.name));
				if (c == EOF)
					return NULL;
				if (c != '\n')
					(void)skip_line(file);
				return &entry;
			}
		}
		if (skip_line(file) == EOF)
			return NULL;
	}
	return NULL;
}
