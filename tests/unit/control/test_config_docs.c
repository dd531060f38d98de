/* SPDX-License-Identifier: BSD-3-Clause
 * docs/configuration.md (argument 1) is what config.def makes. */
#include "store/control/config.h"
#include <string.h>

int main(int argc, char **argv)
{
	char *made = NULL;
	size_t n = 0;
	static char have[CONFIG_FILE_MAX];
	FILE *out = open_memstream(&made, &n), *in = argc == 2 ? fopen(argv[1], "r") : NULL;

	if (!out || !in) {
		fprintf(stderr, "usage: test_config_docs docs/configuration.md\n");
		return 2;
	}
	config_print_docs(out);
	fclose(out);
	size_t got = fread(have, 1, sizeof(have), in);
	fclose(in);
	bool same = got == n && memcmp(have, made, n) == 0;
	if (!same)
		fprintf(stderr, "%s is old: bypostd --print-config-docs > docs/configuration.md\n",
			argv[1]);
	free(made);
	return same ? 0 : 1;
}
