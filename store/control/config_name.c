/* SPDX-License-Identifier: BSD-3-Clause
 * Names in the configuration: of hosts, domains and devices.  Domains beyond ASCII become A-labels
 * (RFC 5891), the form in which addresses of mail are compared. */
#include "smtp/address.h"
#include "store/control/config_priv.h"

/* The part that libidn2 is asked about lies between a leading dot and a port. */
bool config_domain_canonical(const char *text, char out[CONFIG_DOMAIN_MAX + 1])
{
	struct bytes t = bytes_str(text);
	struct bytes dot = bytes_first(t, t.n && t.p[0] == '.');
	ptrdiff_t colon = bytes_rfind(t, ':');
	struct bytes port = colon < 0 ? BYTES_NONE : bytes_skip(t, (size_t)colon);
	struct bytes name = bytes_make(t.p + dot.n, t.n - dot.n - port.n);
	struct buf b;

	buf_init(&b, out, CONFIG_DOMAIN_MAX);
	buf_put(&b, dot);
	/* What is no name of a domain is still to be judged: addresses, "*", and faults. */
	if (address_domain_canonical(name, &b) < 0) {
		for (size_t i = 0; i < name.n; i++)
			buf_byte(&b, ascii_lower(name.p[i]));
	}
	buf_put(&b, port);
	out[b.overflow ? 0 : b.n] = '\0';
	return !b.overflow;
}

/* RFC 952 and 1123 2.1, with '_' as it occurs; labels of 1..63. */
bool config_host_is_valid(const char *text)
{
	size_t label = 0, n = strlen(text);

	for (size_t i = 0; i <= n; i++) {
		uint8_t c = i < n ? (uint8_t)text[i] : '.';
		if (c == '.') {
			if (label == 0 || label > 63 || text[i - 1] == '-' ||
				text[i - label] == '-')
				return false;
			label = 0;
		} else if (ascii_is_alpha(c) || ascii_is_digit(c) || c == '-' || c == '_') {
			label++;
		} else {
			return false;
		}
	}
	return n <= 253;
}

/* "example.org", ".example.org", "*" */
bool config_pattern_is_valid(const char *text)
{
	return strcmp(text, "*") == 0 || config_host_is_valid(text + (text[0] == '.'));
}

bool config_name_is_valid(const char *text, const char *also)
{
	for (const char *p = text; *p; p++) {
		if (!ascii_is_alpha((uint8_t)*p) && !ascii_is_digit((uint8_t)*p) &&
			!strchr(also, *p))
			return false;
	}
	return true;
}

bool config_hostport_is_valid(const char *text)
{
	char host[256];
	struct ip_addr ip;
	uint64_t port = 25;
	const char *colon = strrchr(text, ':');
	size_t n = colon ? (size_t)(colon - text) : strlen(text);

	if (ip_parse(bytes_str(text), &ip) == 0)
		return true;
	if (n == 0 || n >= sizeof(host))
		return false;
	memcpy(host, text, n);
	host[n] = '\0';
	if (colon && (bytes_to_u64(bytes_str(colon + 1), &port) < 0 || port == 0 || port > 65535))
		return false;
	return config_host_is_valid(host) || ip_parse(bytes_str(host), &ip) == 0;
}
