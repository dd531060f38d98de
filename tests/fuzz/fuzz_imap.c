/* SPDX-License-Identifier: BSD-3-Clause
 * A whole IMAP session over a store in memory: logged in, a mailbox selected, then what comes. */
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char opening[] =
		"a LOGIN user1@example.org \"secret word\"\r\nb SELECT INBOX\r\n";
	static const char text[] =
		"From: a@b\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
		"--b\r\nContent-Type: message/rfc822\r\n\r\nS: t\r\n\r\nx\r\n--b--\r\n";
	static struct fake f;

	if (!size)
		return 0;
	memset(&f, 0, sizeof(f));
	struct fake_box *inbox = fake_box_add(&f, "INBOX");
	fake_message_add(&f, inbox, text, sizeof(text) - 1, 0);
	fake_message_add(&f, inbox, (const char *)data, MIN(size, 2000u), MSG_SEEN);
	fake_message_add(&f, inbox, "z", 1, MSG_DELETED);
	fake_box_add(&f, "Sent/old");
	fake_start(&f, sizeof(struct imap_session), imap_session_init);
	fake_talk(&f, opening, sizeof(opening) - 1, 0);
	f.slice_octets = data[0] & 63;
	fake_talk(&f, (const char *)data + 1, size - 1, data[0] >> 6);
	fake_stop(&f);
	BUG_ON(chunk_pool_free_count() != chunk_pool_size());
	return 0;
}
