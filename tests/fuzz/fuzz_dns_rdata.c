/* SPDX-License-Identifier: BSD-3-Clause
 * Record data of strangers: first octet chooses the type.  What is accepted must be a name that may
 * be asked for, or the root. */
#include "delivery/dns/rdata.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const enum dns_type types[] = {DNS_MX, DNS_A, DNS_AAAA, DNS_TLSA, DNS_CNAME};
	struct dns_record r;

	if (n == 0)
		return 0;
	enum dns_type type = types[data[0] % ARRAY_LEN(types)];
	if (dns_rdata_decode(type, bytes_make(data + 1, n - 1), &r) < 0)
		return 0;
	if (type != DNS_MX && type != DNS_CNAME)
		return 0;
	BUG_ON(strlen(r.name) != r.name_n);
	BUG_ON(r.name_n > 0 && !dns_name_valid(bytes_make(r.name, r.name_n)));
	return 0;
}
