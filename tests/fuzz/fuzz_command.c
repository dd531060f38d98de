/* SPDX-License-Identifier: BSD-3-Clause
 * Fuzz: command lines and parameters.  A line that is complete parses the same whatever follows. */
#include "smtp/command.h"
#include "smtp/param.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_line(struct bytes in)
{
	struct command cmd, again;
	size_t used, used_again;
	enum command_verdict v = command_parse(in, &cmd, &used);

	BUG_ON(used > in.n);
	if (v == COMMAND_MORE) {
		BUG_ON(used || in.n >= SMTP_LINE_MAX);
		return;
	}
	if (used == 0) {
		BUG_ON(v != COMMAND_TOO_LONG);
		return;
	}
	BUG_ON(in.p[used - 1] != '\n' || in.p[used - 2] != '\r');
	BUG_ON(command_parse(bytes_first(in, used), &again, &used_again) != v);
	BUG_ON(used_again != used || again.verb != cmd.verb);
	BUG_ON(command_parse(bytes_first(in, used - 1), &again, &used_again) != COMMAND_MORE);
	if (v != COMMAND_OK)
		return;
	struct params p;
	(void)params_parse(cmd.argument, PARAMS_OF_MAIL, &p);
	(void)params_parse(cmd.argument, PARAMS_OF_RCPT, &p);
	(void)params_parse(cmd.argument, PARAMS_OF_RCPT | PARAMS_UTF8, &p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	check_line(bytes_make(data, size));
	(void)command_looks_like_tls(bytes_make(data, size));
	return 0;
}
