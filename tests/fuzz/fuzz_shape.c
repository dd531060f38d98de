/* SPDX-License-Identifier: BSD-3-Clause
 * A message is fetched twice, the second time from the shape that the first has left: the answers
 * are the same.  Then whatever octets stand in the shape's place. */
#include "dataplane/base/rt/eal.h"
#include "store/imap/imap_session.h"
/* The fixture of the unit tests, as one translation unit with its user. */
#include "tests/unit/imap/fake_host.c"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	eal_start_for_tests(64);
	BUG_ON(chunk_pool_init(4096, -1) < 0 || message_pool_init(64, -1) < 0);
	return 0;
}

static const char *ask(struct fake *f)
{
	static const char command[] =
		"c UID FETCH 1 (ENVELOPE BODY BODYSTRUCTURE BODY.PEEK[1] BODY.PEEK[1.MIME] "
		"BODY.PEEK[2] BODY.PEEK[1.HEADER] BODY.PEEK[2.TEXT] "
		"BODY.PEEK[HEADER.FIELDS (SUBJECT FROM)])\r\n";

	return fake_talk(f, command, sizeof(command) - 1, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char opening[] =
		"a LOGIN user1@example.org \"secret word\"\r\nb SELECT INBOX\r\n";
	static struct fake f;

	if (size < 2)
		return 0;
	memset(&f, 0, sizeof(f));
	struct fake_box *inbox = fake_box_add(&f, "INBOX");
	fake_message_add(&f, inbox, (const char *)data + 1, MIN(size - 1, 60000u), 0);
	fake_start(&f, sizeof(struct imap_session), imap_session_init);
	fake_talk(&f, opening, sizeof(opening) - 1, 0);
	f.slice_octets = data[0];
	char *first = strdup(ask(&f));
	BUG_ON(strcmp(first, ask(&f)) != 0);
	struct fake_message *m = &inbox->messages[0];
	if (m->shape_n) {
		BUG_ON(f.shapes_read != 1);
		/* Its beginning is right, so that what follows is looked at. */
		size_t n = MIN(size, (size_t)SHAPE_MAX), keep = MIN(m->shape_n, (size_t)data[1]);
		uint8_t *other = malloc(MAX(n, keep));
		memcpy(other, data, n);
		memcpy(other, m->shape, keep);
		free(m->shape);
		m->shape = other;
		m->shape_n = MAX(n, keep);
		ask(&f);
	}
	free(first);
	fake_stop(&f);
	BUG_ON(chunk_pool_free_count() != chunk_pool_size());
	return 0;
}
