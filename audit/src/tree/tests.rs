use super::*;

/// The leaves of the Certificate Transparency reference tests.
fn ct_leaves() -> Vec<Vec<u8>> {
    vec![
        vec![],
        vec![0x00],
        vec![0x10],
        vec![0x20, 0x21],
        vec![0x30, 0x31],
        vec![0x40, 0x41, 0x42, 0x43],
        (0x50..0x58).collect(),
        (0x60..0x70).collect(),
    ]
}

const CT_ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

/// RFC 6962 §2.1, word for word.
fn rebuilt(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => Digest::of(&[]),
        [one] => *one,
        _ => {
            let mut k = 1;
            while k * 2 < leaves.len() {
                k *= 2;
            }
            node(&rebuilt(&leaves[..k]), &rebuilt(&leaves[k..]))
        }
    }
}

fn leaves(n: u32) -> Vec<Digest> {
    (0..n).map(|i| leaf(&i.to_be_bytes())).collect()
}

#[test]
fn roots_are_those_of_the_ct_vectors() {
    let mut tree = Tree::new();
    assert_eq!(tree.root().to_string(), CT_ROOTS[0]);
    for (data, root) in ct_leaves().iter().zip(&CT_ROOTS[1..]) {
        tree.append(leaf(data));
        assert_eq!(tree.root().to_string(), *root);
    }
}

#[test]
fn the_incremental_root_is_the_rebuilt_one() {
    let all = leaves(70);
    let (mut tree, mut history) = (Tree::new(), History::new());
    for n in 1..=70 {
        tree.append(all[n - 1]);
        history.append(all[n - 1]);
        let root = rebuilt(&all[..n]);
        assert_eq!(tree.root(), root, "{n}");
        assert_eq!((tree.size(), history.size()), (n as u64, n as u64));
        tree = Tree::resume(tree.size(), tree.peaks().to_vec()).unwrap();
    }
    for n in 0..=70 {
        assert_eq!(history.root_at(n as u64), Some(rebuilt(&all[..n])), "{n}");
    }
    assert_eq!(history.root_at(71), None);
    assert_eq!(Tree::resume(3, vec![all[0]]), None);
}

#[test]
fn every_inclusion_proof_holds_and_holds_for_nothing_else() {
    let all = leaves(70);
    let mut history = History::new();
    all.iter().for_each(|hash| history.append(*hash));
    for size in 1..=70u64 {
        let root = history.root_at(size).unwrap();
        for index in 0..size {
            let proof = history.inclusion(index, size).unwrap();
            let hash = &all[usize::try_from(index).unwrap()];
            assert!(verify_inclusion(hash, index, size, &proof, &root), "{index} of {size}");
            assert!(!verify_inclusion(hash, index + 1, size, &proof, &root));
            assert!(!verify_inclusion(&leaf(b"other"), index, size, &proof, &root));
            let mut longer = proof.clone();
            longer.push(root);
            assert!(!verify_inclusion(hash, index, size, &longer, &root));
            if let Some((_, shorter)) = proof.split_last() {
                assert!(!verify_inclusion(hash, index, size, shorter, &root));
            }
        }
        assert_eq!(history.inclusion(size, size), None);
    }
}

#[test]
fn a_tree_of_one_entry_has_a_proof_and_a_node_is_no_leaf() {
    let mut history = History::new();
    history.append(leaf(b"only"));
    let proof = history.inclusion(0, 1).unwrap();
    assert!(proof.is_empty());
    let root = history.root_at(1).unwrap();
    assert!(verify_inclusion(&leaf(b"only"), 0, 1, &proof, &root));
    assert!(!verify_inclusion(&leaf(b"other"), 0, 1, &proof, &root));
    // A node's two children, hashed as an entry, are not the node.
    let (a, b) = (leaf(b"a"), leaf(b"b"));
    let children = [&a.as_bytes()[..], &b.as_bytes()[..]].concat();
    assert_ne!(leaf(&children), node(&a, &b));
}

#[test]
fn every_consistency_proof_holds_and_a_rewritten_past_has_none() {
    let all = leaves(40);
    let (mut history, mut other) = (History::new(), History::new());
    for (at, hash) in all.iter().enumerate() {
        history.append(*hash);
        other.append(if at == 0 { leaf(b"rewritten") } else { *hash });
    }
    for new in 1..=40u64 {
        let new_root = history.root_at(new).unwrap();
        for old in 1..=new {
            let old_root = history.root_at(old).unwrap();
            let proof = history.consistency(old, new).unwrap();
            assert!(verify_consistency(old, new, &old_root, &new_root, &proof), "{old} to {new}");
            let forged = other.root_at(old).unwrap();
            assert!(!verify_consistency(old, new, &forged, &new_root, &proof), "{old} to {new}");
            let elsewhere = other.consistency(old, new).unwrap();
            let elsewhere_root = other.root_at(new).unwrap();
            assert!(!verify_consistency(old, new, &old_root, &elsewhere_root, &elsewhere), "{old} to {new}");
            let mut longer = proof.clone();
            longer.push(new_root);
            assert!(!verify_consistency(old, new, &old_root, &new_root, &longer));
            if let Some((_, shorter)) = proof.split_last() {
                assert!(!verify_consistency(old, new, &old_root, &new_root, shorter));
            }
        }
    }
    assert_eq!(history.consistency(0, 3), None);
    assert_eq!(history.consistency(4, 3), None);
    assert_eq!(history.consistency(4, 41), None);
}
