/* SPDX-License-Identifier: BSD-3-Clause
 * Header sections: fields, addresses, dates, parameters. */
#include "smtp/header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void addresses(struct bytes value)
{
	struct header_addresses list = header_addresses_of(value);
	struct header_address a;

	while (header_address_next(&list, &a))
		BUG_ON(a.name.n > a.name.cap || a.local.n > a.local.cap ||
			a.domain.n > a.domain.cap);
}

static void structured(struct bytes value)
{
	struct bytes type, sub, name;
	struct header_date date;
	uint8_t memory[64];
	struct buf b;

	struct header_params p = header_type_parse(value, &type, &sub);
	for (unsigned i = 0;; i++) {
		buf_init(&b, memory, sizeof(memory));
		if (!header_param_next(&p, &name, &b))
			break;
		BUG_ON(i > HEADER_PARAMS_MAX);
	}
	buf_init(&b, memory, sizeof(memory));
	header_unfold(&b, value);
	if (header_date_parse(value, &date) == 0)
		BUG_ON(date.zone_min > 99 * 60 + 99 || date.zone_min < -99 * 60 - 99);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes section = bytes_make(data, size);
	struct header_field f;

	for (size_t at = 0; header_next(section, &at, &f);) {
		addresses(f.value);
		structured(f.value);
	}
	addresses(section);
	structured(section);
	return 0;
}
