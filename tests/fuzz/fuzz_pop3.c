/* SPDX-License-Identifier: BSD-3-Clause
 * A whole POP3 session over a store in memory: logged in, then what comes. */
#include "dataplane/base/rt/eal.h"
#include "store/pop3/pop3_session.h"
/* The fixture of the unit tests, as one translation unit with its user. */
#include "tests/unit/imap/fake_host.c"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	eal_start_for_tests(64);
	BUG_ON(chunk_pool_init(4096, -1) < 0);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char opening[] = "USER user1@example.org\r\nPASS secret word\r\n";
	static struct fake f;

	if (!size)
		return 0;
	memset(&f, 0, sizeof(f));
	struct fake_box *inbox = fake_box_add(&f, "INBOX");
	fake_message_add(&f, inbox, "A: b\r\n\r\n.x\r\n.", 13, 0);
	fake_message_add(&f, inbox, (const char *)data, MIN(size, 2000u), 0);
	fake_start(&f, sizeof(struct pop3_session), pop3_session_init);
	if (data[0] & 128)
		fake_talk(&f, opening, sizeof(opening) - 1, 0);
	f.slice_octets = data[0] & 31;
	fake_talk(&f, (const char *)data + 1, size - 1, data[0] >> 5 & 3);
	fake_stop(&f);
	BUG_ON(chunk_pool_free_count() != chunk_pool_size());
	return 0;
}
