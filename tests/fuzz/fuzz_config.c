/* SPDX-License-Identifier: BSD-3-Clause
 * Any text as a configuration file. */
#include "store/control/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const struct config *c;
	char error[512];

	if (config_parse("fuzz", (const char *)data, n, &c, error, sizeof(error)) == 0)
		config_destroy(&c);
	return 0;
}
