// SPDX-License-Identifier: Apache-2.0
#include "engine/kv/prefix_tree.h"
#include "tests/support/test_registry.h"

#include <QTest>

#include <map>
#include <random>
#include <set>

using namespace kvilt;
using kv::kNoSlot;
using kv::NodeSlot;
using kv::PrefixTree;

class PrefixTreeTest : public QObject {
    Q_OBJECT
private slots:
    void equalTokensAfterAnotherParentAreAnotherNode()
    {
        PrefixTree tree(2, 64, [](NodeSlot) {});
        const TokenId a[] = {1, 2}, b[] = {3, 4};
        const NodeSlot root = tree.root("");
        const NodeSlot first = tree.intern(root, a);
        tree.addPayload(first);
        const NodeSlot below = tree.intern(first, b), beside = tree.intern(root, b);
        QVERIFY(below != beside);
        QCOMPARE(tree.intern(first, b), below);
        QCOMPARE(tree.findChild(below, b), kNoSlot);
        QCOMPARE(tree[below].depth, 1u);
    }

    void saltsShareNothing()
    {
        PrefixTree tree(2, 64, [](NodeSlot) {});
        const TokenId a[] = {1, 2};
        const NodeSlot mine = tree.intern(tree.root("mine"), a);
        tree.addPayload(mine);
        QCOMPARE(tree.findRoot("yours"), kNoSlot);
        QCOMPARE(tree.findChild(tree.root("yours"), a), kNoSlot);
        QVERIFY(tree.intern(tree.root("yours"), a) != mine);
    }

    // With one bit of hash every bucket holds half of all nodes, and still only equal chains are found.
    void aHashCutToFewBitsNeverFindsTheWrongNode()
    {
        for (const int bits : {1, 8, 64}) {
            PrefixTree tree(2, bits, [](NodeSlot) {});
            std::map<std::pair<NodeSlot, std::pair<TokenId, TokenId>>, NodeSlot> reference;
            std::mt19937 random(7);
            std::vector<NodeSlot> nodes{tree.root("")};
            for (int i = 0; i < 2000; ++i) {
                const NodeSlot parent = nodes[random() % nodes.size()];
                const TokenId tokens[] = {TokenId(random() % 4), TokenId(random() % 4)};
                const auto key = std::pair(parent, std::pair(tokens[0], tokens[1]));
                const auto known = reference.find(key);
                QCOMPARE(tree.findChild(parent, tokens), known == reference.end() ? kNoSlot : known->second);
                const NodeSlot node = tree.intern(parent, tokens);
                if (known == reference.end()) {
                    tree.addPayload(node);
                    nodes.push_back(node);
                    reference[key] = node;
                }
            }
            for (const auto &[key, node] : reference)
                QCOMPARE(tree.find(tree[node].id), node);
        }
    }

    void idsAreNeverUsedAgain()
    {
        PrefixTree tree(1, 64, [](NodeSlot) {});
        std::set<std::uint64_t> ids;
        for (TokenId i = 0; i < 100; ++i) {
            const NodeSlot node = tree.intern(tree.root(""), &i);
            tree.addPayload(node);
            QVERIFY(ids.insert(tree[node].id.value).second);
            tree.removePayload(node); // never evicted: nothing to remember, freed at once
            QCOMPARE(tree.nodes(), std::size_t(0));
        }
        QVERIFY(tree.slotCount() < 10);
    }

    void ghostsAreRememberedOldestForgottenFirst()
    {
        std::vector<NodeSlot> freed;
        PrefixTree tree(1, 64, [&](NodeSlot slot) { freed.push_back(slot); });
        tree.hold(tree.root(""));
        std::vector<NodeSlot> nodes;
        for (TokenId i = 0; i < 10; ++i) {
            nodes.push_back(tree.intern(tree.root(""), &i));
            tree.addPayload(nodes.back());
        }
        for (const NodeSlot node : nodes) {
            tree[node].eviction.atNs = 1;
            tree.removePayload(node);
        }
        QCOMPARE(tree.bareNodes(), std::size_t(10));
        tree.trimGhosts(7);
        QCOMPARE(freed, (std::vector<NodeSlot>{nodes[0], nodes[1], nodes[2]}));
        tree.addPayload(nodes[3]); // back in memory: no ghost any more
        tree.trimGhosts(0);
        QCOMPARE(tree.nodes(), std::size_t(1));
        QCOMPARE(tree.bareNodes(), std::size_t(0));
    }

    void aLongChainOfGhostsIsForgottenFromItsTail()
    {
        PrefixTree tree(1, 64, [](NodeSlot) {});
        constexpr int kLength = 200'000; // a recursion would not survive this
        std::vector<NodeSlot> chain{tree.root("")};
        for (int i = 0; i < kLength; ++i) {
            const TokenId token = i % 7;
            chain.push_back(tree.intern(chain.back(), &token));
            tree.addPayload(chain.back());
        }
        for (int i = kLength; i > 0; --i) {
            tree[chain[i]].eviction.atNs = 1;
            tree.removePayload(chain[i]);
        }
        tree.trimGhosts(5);
        QCOMPARE(tree.nodes(), std::size_t(5));
        for (int i = 0; i <= 5; ++i)
            QVERIFY(tree[chain[i]].alive);
        tree.trimGhosts(0);
        QCOMPARE(tree.findRoot(""), kNoSlot); // the root went with its last node
    }

    void holdersAndPinsKeepANode()
    {
        PrefixTree tree(1, 64, [](NodeSlot) {});
        const TokenId token = 1;
        const NodeSlot node = tree.intern(tree.root(""), &token);
        tree.hold(node);
        tree.addPayload(node);
        tree.removePayload(node);
        QVERIFY(tree[node].alive);
        tree[node].pinned = true;
        tree.unhold(node);
        QVERIFY(tree[node].alive);
        tree[node].pinned = false;
        tree.settle(node);
        QVERIFY(!tree[node].alive);
    }
};

KVILT_TEST_CLASS(PrefixTreeTest)
#include "tst_prefix_tree.moc"
