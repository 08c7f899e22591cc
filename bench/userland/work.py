"""Objects, dictionaries, strings, big numbers, JSON and regular expressions."""
import hashlib
import json
import re


class Node:
    def __init__(self, key, left=None, right=None):
        self.key, self.left, self.right = key, left, right


def insert(node, key):
    if node is None:
        return Node(key)
    if key < node.key:
        node.left = insert(node.left, key)
    elif key > node.key:
        node.right = insert(node.right, key)
    return node


def walk(node):
    if node is not None:
        yield from walk(node.left)
        yield node.key
        yield from walk(node.right)


seed = 12345
root = None
counts = {}
for i in range(20000):
    seed = (seed * 1103515245 + 12345) % 2**31
    root = insert(root, seed % 100003)
    counts[f"k{seed % 977}"] = counts.get(f"k{seed % 977}", 0) + 1
keys = list(walk(root))
text = json.dumps({"keys": keys, "counts": counts}, sort_keys=True)
words = re.findall(r"k(\d+)", text)
big = 1
for i in range(1, 1500):
    big *= i
print(len(keys), len(words), hashlib.sha256(text.encode()).hexdigest(), str(big)[:20], big % 1000003)
print(sum(float(w) ** 0.5 for w in words))
