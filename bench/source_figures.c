/* SPDX-License-Identifier: BSD-3-Clause
 * What came of connections, recipients and messages. */
#include "bench/source_priv.h"

const char *const source_stage_names[SOURCE_STAGE_N] = {
	[SOURCE_CONNECT] = "connect",
	[SOURCE_COMMANDS + SMTP_COMMAND_GREETING] = "greeting",
	[SOURCE_COMMANDS + SMTP_COMMAND_HELO] = "helo",
	[SOURCE_COMMANDS + SMTP_COMMAND_STARTTLS] = "starttls",
	[SOURCE_COMMANDS + SMTP_COMMAND_AUTH] = "auth",
	[SOURCE_COMMANDS + SMTP_COMMAND_MAIL] = "mail",
	[SOURCE_COMMANDS + SMTP_COMMAND_RCPT] = "rcpt",
	[SOURCE_COMMANDS + SMTP_COMMAND_DATA] = "data",
	[SOURCE_COMMANDS + SMTP_COMMAND_END] = "end",
	[SOURCE_COMMANDS + SMTP_COMMAND_OTHER] = "other",
};

static bool measuring(const struct source *s)
{
	double passed = (double)(source_now_us(s) - s->began_us) / 1e6;

	return passed >= s->conf.warm_up && (s->conf.seconds <= 0 || passed < s->conf.seconds);
}

void source_note_connected(struct session *t)
{
	struct source *s = t->conn.all->owner;

	figure_add(&s->figures.connections, 1);
	if (measuring(s))
		hist_add(&s->figures.connect_us, source_now_us(s) - t->began_us);
}

void source_note_refusal(struct source *s, enum source_stage stage, unsigned code, const char *text)
{
	enum source_refusal kind = code >= 500   ? SOURCE_5XX
				   : code >= 400 ? SOURCE_4XX
						 : SOURCE_LOST;

	figure_add(&s->figures.refusals[stage][kind], 1);
	if (!s->figures.first_refusal[0])
		snprintf(s->figures.first_refusal, sizeof(s->figures.first_refusal),
			"%s: %u %.200s", source_stage_names[stage], code, text);
}

enum source_stage source_stage(const struct session *t)
{
	return (enum source_stage)(SOURCE_COMMANDS + (unsigned)smtp_client_command(&t->client));
}

void source_note_rcpt(struct session *t, uint32_t i, enum smtp_rcpt_result result,
	const struct smtp_reply_info *reply)
{
	struct source *s = t->conn.all->owner;
	struct ledger_entry e = {.run = s->run,
		.seq = t->letter.id.seq,
		.rcpt = ledger_rcpt(source_rcpt(t, i)),
		.state = LEDGER_REFUSED};

	if (result == SMTP_RCPT_DELIVERED) {
		e.state = LEDGER_ACCEPTED;
		t->accepted++;
		figure_add(&s->figures.rcpts_accepted, 1);
	} else {
		if (reply->code == 0)
			e.state = LEDGER_UNKNOWN; /* nobody said */
		source_note_refusal(s, source_stage(t), reply->code, reply->text);
	}
	ledger_add(s->ledger, &e);
}

static void note_second(struct source *s, bool accepted, uint64_t us)
{
	uint64_t second = (source_now_us(s) - s->began_us) / US_PER_SEC;

	if (second >= SOURCE_SERIES_MAX)
		return;
	struct source_second *at = &s->figures.series[second];
	at->accepted += accepted;
	at->refused += !accepted;
	at->sum_us += accepted ? us : 0;
	if (accepted)
		at->slowest_us = MAX(at->slowest_us, (uint32_t)MIN(us, (uint64_t)UINT32_MAX));
	atomic_store_explicit(&s->figures.series_n, (uint32_t)second + 1, memory_order_relaxed);
}

void source_note_message(struct session *t)
{
	struct source *s = t->conn.all->owner;
	struct source_figures *f = &s->figures;
	uint64_t now = source_now_us(s), us = now - t->intended_us;

	note_second(s, t->accepted > 0, us);
	if (t->accepted < s->conf.rcpts)
		figure_add(&f->refused, 1);
	if (!t->accepted)
		return;
	figure_add(&f->accepted, 1);
	figure_add(&f->octets, letter_octets(&t->letter));
	if (!measuring(s))
		return;
	if (!f->measured_from_us)
		f->measured_from_us = s->began_us + (uint64_t)(s->conf.warm_up * 1e6);
	f->measured_to_us = now;
	figure_add(&f->measured, 1);
	figure_add(&f->measured_octets, letter_octets(&t->letter));
	hist_add(&f->accept_us, us);
}
