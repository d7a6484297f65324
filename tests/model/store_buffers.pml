/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory as processors show it: a store waits in its thread's buffer and reaches memory later, so a
 * thread's loads overtake its own earlier stores. That is total store order (x86). With
 * -DWEAK_STORES buffers also drain out of order, as on processors where plain stores may pass each
 * other; then only PUBLISH keeps order.
 *
 * The including file defines THREADS (2 or 3), WORDS and BUFFER_STORES. Each word has one writer
 * (futex words apart, which the other side changes by a locked exchange only), so a thread never
 * loads a word that waits in its own buffer and no store-to-load forwarding is needed.
 */
byte mem[WORDS];
chan store_buffer[THREADS] = [BUFFER_STORES] of { byte, byte };

/* poke: a relaxed store. A full buffer stalls the thread, as it does in hardware. */
#define POKE(thread, word, value) store_buffer[thread] ! word, value

/* publish: a release store. Earlier stores reach memory first; the store itself may still wait. */
#ifdef WEAK_STORES
#define PUBLISH(thread, word, value) \
  empty(store_buffer[thread]);       \
  POKE(thread, word, value)
#else
#define PUBLISH(thread, word, value) POKE(thread, word, value)
#endif

/* peek, observe: loads take place in program order. */
#define PEEK(word) mem[word]

/* full_fence: goes on once the own stores are in memory. */
#define FULL_FENCE(thread) empty(store_buffer[thread])

/* exchange: a locked instruction, hence a fence too. */
#define EXCHANGE(thread, word, value, old)         \
  atomic {                                         \
    empty(store_buffer[thread]) -> old = mem[word]; \
    mem[word] = value                              \
  }

/* The oldest store of a thread reaches memory. */
#define DRAIN_OLDEST(thread)            \
  atomic {                              \
    store_buffer[thread] ? word, value; \
    mem[word] = value;                  \
    word = 0;                           \
    value = 0                           \
  }

/* The second oldest does, before it. */
#define DRAIN_SECOND(thread)                                \
  atomic {                                                  \
    len(store_buffer[thread]) > 1 -> store_buffer[thread] ? word, value; \
    store_buffer[thread] ! word, value;                     \
    store_buffer[thread] ? word, value;                     \
    mem[word] = value;                                      \
    word = 0;                                               \
    value = 0                                               \
  }

active proctype memory() {
  byte word, value;
end:
  do
  :: DRAIN_OLDEST(0)
  :: DRAIN_OLDEST(1)
#if THREADS > 2
  :: DRAIN_OLDEST(2)
#endif
#ifdef WEAK_STORES
  :: DRAIN_SECOND(0)
  :: DRAIN_SECOND(1)
#endif
  od
}
