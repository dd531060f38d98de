/* SPDX-License-Identifier: BSD-3-Clause
 * Fuzz: the messages of SASL clients.  First octet: how SCRAM is bound; then PLAIN's message, and
 * SCRAM's first and last, parted by an octet 0xfe.  Nobody who does not know the password gets in.
 */
#include "smtp/sasl.h"
#include "smtp/saslprep.h"
#include "smtp/scram.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void scram(struct bytes first, struct bytes last, enum scram_binding binding)
{
	static const uint8_t channel[32] = {7};
	struct scram_record r = {.iterations = 4096, .stored_key = {1}, .server_key = {2}};
	struct scram s;

	if (scram_first(&s, first, binding) < 0)
		return;
	BUG_ON(s.user_n == 0 || s.user_n > sizeof(s.user));
	BUG_ON(scram_challenge(&s, &r, true) < 0);
	BUG_ON(s.reply_n > sizeof(s.reply) || s.text_n > sizeof(s.text));
	BUG_ON(scram_final(&s, last, bytes_make(channel, sizeof(channel))) == 0);
}

/* What is prepared has no control characters. */
static void prepare(struct bytes in)
{
	uint8_t memory[SASLPREP_MAX];
	struct buf out;

	buf_init(&out, memory, sizeof(memory));
	if (saslprep(in, SASLPREP_STORED, &out) < 0) {
		BUG_ON(out.n != 0);
		return;
	}
	for (size_t i = 0; i < out.n; i++)
		BUG_ON(out.p[i] < ' ' || out.p[i] == 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes user, password;

	if (size < 1)
		return 0;
	struct bytes in = bytes_make(data + 1, size - 1);
	if (sasl_plain_parse(in, &user, &password) == 0)
		BUG_ON(user.n == 0 || password.n == 0 || user.n + password.n >= in.n);
	ptrdiff_t cut = bytes_find(in, 0xfe, 0);
	struct bytes first = cut < 0 ? in : bytes_first(in, (size_t)cut);
	scram(first, bytes_skip(in, first.n + 1), (enum scram_binding)(data[0] % 3));
	(void)sasl_mechanism_find(in);
	prepare(in);
	return 0;
}
