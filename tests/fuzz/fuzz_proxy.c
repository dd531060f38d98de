/* SPDX-License-Identifier: BSD-3-Clause
 * Fuzz: the PROXY header.  Whole, at every cut it wants more or is refused already, and what
 * follows plays no part. */
#include "smtp/proxy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes in = bytes_make(data, size);
	struct proxy_header h, again;
	size_t used, used_again;
	enum proxy_verdict v = proxy_parse(in, &h, &used);

	BUG_ON(used > size || used > PROXY_HEADER_MAX);
	BUG_ON((v == PROXY_OK) != (used > 0));
	BUG_ON(v == PROXY_MORE && size >= PROXY_HEADER_MAX);
	if (v != PROXY_OK)
		return 0;
	BUG_ON(proxy_parse(bytes_first(in, used), &again, &used_again) != PROXY_OK);
	BUG_ON(used_again != used || memcmp(&again, &h, sizeof(h)) != 0);
	for (size_t n = 0; n < used; n++)
		BUG_ON(proxy_parse(bytes_first(in, n), &again, &used_again) != PROXY_MORE);
	return 0;
}
